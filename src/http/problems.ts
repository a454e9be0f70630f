import { Elysia, t, ValidationError } from "elysia";
import type { Ctx, User } from "../ctx.ts";
import { isDatabaseOutage } from "../db/failures.ts";
import { Problem, Stale, UserGone } from "../kit/problem.ts";
import {
  type FieldProblemCode,
  fieldProblems,
  type ProblemCode,
  problems,
} from "../kit/problem-codes.ts";
import { tagOf } from "./etag.ts";
import { fieldProblemsOf } from "./fields.ts";
import { isPathIn } from "./host.ts";
import { OAUTH_PATHS, oauthErrorOf } from "./oauth-errors.ts";
import { commonHeaders } from "./request.ts";
import { contextOf, type RequestContext } from "./request-context.ts";
import type { routeTable } from "./route-table.ts";
import { integer, literals } from "./schemas.ts";

type StatusOf<C extends ProblemCode> = (typeof problems)[C]["status"];
type CodeOf<C extends ProblemCode, S> = C extends ProblemCode
  ? StatusOf<C> extends S
    ? C
    : never
  : never;

const fieldProblemView = () =>
  t.Object(
    {
      pointer: t.String({
        description:
          "JSON Pointer (RFC 6901) into the body; `/query/…`, `/header/…` and `/path/…` point outside it.",
      }),
      code: literals(Object.keys(fieldProblems) as FieldProblemCode[]),
      detail: t.String(),
    },
    { title: "FieldProblem" },
  );

const exampleOf = (code: ProblemCode) => {
  const { status, title, detail } = problems[code];
  const isAboutFields = code === "invalid_request";
  return {
    type: `/problems/${code}`,
    title,
    status,
    detail: isAboutFields ? "email is missing" : detail,
    code,
    request_id: "019aac30-5c1b-7d4e-9d3f-6a2b8c4e1f70",
    ...(isAboutFields
      ? { errors: [{ pointer: "/email", code: "missing", detail: fieldProblems.missing }] }
      : {}),
  };
};

/** Examples for `components` of the OpenAPI document. */
export const problemExamples = (codes: ProblemCode[]) =>
  Object.fromEntries(
    codes.map((code) => [code, { summary: problems[code].title, value: exampleOf(code) }]),
  );

const problemBody = <C extends ProblemCode>(codes: C[]) =>
  t.Object(
    {
      type: t.String({
        format: "uri-reference",
        description: "The URL of a page that explains the code.",
      }),
      title: t.String(),
      status: integer(),
      detail: t.String(),
      code: literals(codes),
      request_id: t.String({
        description: "Also in the header X-Request-Id, and in the service's log.",
      }),
      errors: t.Optional(
        t.Array(fieldProblemView(), {
          description:
            "The invalid fields and headers, for `invalid_request` and `unsupported_header`.",
        }),
      ),
    },
    { description: "Problem details (RFC 9457).", examples: [exampleOf("invalid_request")] },
  );

/** Any problem, whatever its code. For the OpenAPI document. */
export const problemView = () => problemBody(Object.keys(problems) as ProblemCode[]);

type ProblemBody<C extends ProblemCode> = ReturnType<typeof problemBody<C>>;

/** The member of a route's schema that lists the problem codes of a status. */
export const PROBLEM_CODES = "x-problem-codes";

/**
 * Declares the problems of a route: spread into its `response`. Each status has exactly its own
 * codes, so a client's `switch (error.value.code)` is exhaustive. The runtime schema has only the
 * codes: full schemas would add a third to the start time.
 */
export function fails<const C extends ProblemCode>(...codes: C[]) {
  const unique = [...new Set(codes)];
  const statuses = [...new Set(unique.map((code) => problems[code].status))].sort();
  const bodies = statuses.map((status) => [
    status,
    t.Any({ [PROBLEM_CODES]: unique.filter((code) => problems[code].status === status) }),
  ]);
  return Object.fromEntries(bodies) as unknown as { [S in StatusOf<C>]: ProblemBody<CodeOf<C, S>> };
}

/**
 * Problems of each kind of route: `bodyProblems` for routes that read a body, `tokenProblems` for
 * routes that require a token, `commonProblems` for all that do work.
 */
export const bodyProblems = [
  "malformed_request",
  "request_timeout",
  "body_too_large",
  "unsupported_media_type",
  "invalid_request",
] as const satisfies ProblemCode[];
export const commonProblems = [
  "unsupported_header",
  "internal",
  "database_unavailable",
] as const satisfies ProblemCode[];
/** In addition, for routes that read Idempotency-Key. */
export const retryProblems = [
  "request_in_progress",
  "idempotency_key_reused",
] as const satisfies ProblemCode[];
export const tokenProblems = [
  "not_signed_in",
  "invalid_token",
  "too_many_requests",
  ...commonProblems,
] as const satisfies ProblemCode[];

export const RETRY_AFTER_SECONDS = 2;

/** Headers that belong to a status: RFC 6750 (section 3), RFC 6585, RFC 9110 (section 15.6.4). */
const headersOf = (code: ProblemCode): Record<string, string> => {
  if (code === "invalid_token")
    return { "www-authenticate": 'Bearer realm="bunker", error="invalid_token"' };
  if (code === "reauthentication_required")
    return {
      "www-authenticate":
        'Bearer realm="bunker", error="insufficient_user_authentication", max_age=600',
    };
  if (code === "invalid_client") return { "www-authenticate": 'Basic realm="bunker"' };
  // RFC 9110, section 15.5.16.
  if (code === "unsupported_media_type") return { "accept-encoding": "identity" };
  // RFC 9110, section 15.5.22.
  if (code === "upgrade_required") return { upgrade: "websocket" };
  const { status } = problems[code];
  if (status === 401) return { "www-authenticate": 'Bearer realm="bunker"' };
  if (status === 429 || status === 503) return { "retry-after": String(RETRY_AFTER_SECONDS) };
  return {};
};

/** Maps what was thrown to a problem. An unexpected error becomes `internal`, without details. */
function problemOf(
  { config }: Ctx,
  { error, code, request }: { error: unknown; code: string | number; request: Request },
): Problem {
  const { actor, userId } = contextOf(request);
  if (error instanceof UserGone && userId !== undefined && error.userId === userId)
    return new Problem("invalid_token");
  if (error instanceof Problem) return error;
  // A response that does not match its own schema is a bug here, not the client's error.
  if (error instanceof ValidationError && error.type !== "response") {
    const names = actor ? namesOf(actor.user) : [];
    return new Problem("invalid_request", {
      errors: fieldProblemsOf(error, request, { config, names }),
    });
  }
  if (code === "PARSE") return new Problem("malformed_request");
  if (code === "NOT_FOUND") return new Problem("not_found");
  return new Problem(isDatabaseOutage(error) ? "database_unavailable" : "internal");
}

const namesOf = ({ email, username, fullName }: User) => [email, username, fullName ?? ""];

interface ProblemResponse {
  status: number;
  headers: Record<string, string>;
  body: object;
}

const problemDetails = ({ code, message, errors }: Problem, requestId: string): ProblemResponse => {
  const { status, title } = problems[code];
  const body = { type: `/problems/${code}`, title, status, detail: message, code };
  return {
    status,
    headers: { "content-type": "application/problem+json", ...headersOf(code) },
    body: { ...body, request_id: requestId, errors },
  };
};

/** Writes the error of an OAuth endpoint (RFC 6749, section 5.2). */
const oauthResponse = (problem: Problem): ProblemResponse | undefined => {
  const known = oauthErrorOf(problem);
  if (!known) return undefined;
  const { "www-authenticate": challenge, ...rest } = headersOf(problem.code);
  const challenged = known.status === 401 && challenge ? { "www-authenticate": challenge } : {};
  return { ...known, headers: { "content-type": "application/json", ...rest, ...challenged } };
};

const problemResponse = (
  problem: Problem,
  { id, path }: { id: string; path: string },
): ProblemResponse =>
  (isPathIn(OAUTH_PATHS, path) && oauthResponse(problem)) || problemDetails(problem, id);

/** The response to a request whose handler did not return in time, or failed outside the app. */
export function responseTo(problem: Problem, { id, route = "" }: RequestContext): Response {
  const response = problemResponse(problem, { id, path: route });
  const headers = { ...commonHeaders, "x-request-id": id, ...response.headers };
  return new Response(JSON.stringify(response.body), { status: response.status, headers });
}

/** The one place where problems become responses (RFC 9457, or OAuth errors). */
export const problemPlugin = (ctx: Ctx, routes: ReturnType<typeof routeTable>) =>
  new Elysia({ name: "problems" }).onError(
    { as: "global" },
    ({ error, code, set, path, route, request }) => {
      const allowed = code === "NOT_FOUND" ? routes.methodsOf(path) : [];
      const context = contextOf(request);
      const problem =
        allowed.length > 0
          ? new Problem("method_not_allowed")
          : problemOf(ctx, { error, code, request });
      if (allowed.length > 0) set.headers["allow"] = allowed.join(", ");
      context.problemCode = problem.code;
      const response = problemResponse(problem, { id: context.id, path });
      // Problems thrown on purpose are not logged: a flood of them would fill the log.
      if (response.status >= 500 && !(error instanceof Problem))
        ctx.log.error(
          { err: error, code: problem.code, request_id: context.id, route },
          "Request failed.",
        );
      set.status = response.status;
      // A refused rate limit has set its own wait.
      const { "retry-after": retryAfter = response.headers["retry-after"] } = set.headers;
      Object.assign(set.headers, response.headers, retryAfter && { "retry-after": retryAfter });
      if (problem instanceof Stale) set.headers["etag"] = tagOf(problem.version);
      return new Response(JSON.stringify(response.body), { status: response.status });
    },
  );
