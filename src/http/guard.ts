import { Elysia } from "elysia";
import type { Anonymous, Ctx, User, UserActor } from "../ctx.ts";
import { credentialsOf } from "../kit/authorization.ts";
import { fieldProblem, Problem } from "../kit/problem.ts";
import type { ProblemCode } from "../kit/problem-codes.ts";
import { type LimitName, usesOf } from "../limits/policies.ts";
import { findActor, findByRefreshToken, findHolder, usesOfToken } from "../modules/auth/auth.ts";
import { headerMacros, refuseUnsupported } from "./headers.ts";
import { actorsFrom, limitReportOf, openOrigins, type Visit } from "./origin.ts";
import { contextOf } from "./request-context.ts";

/** For OpenAPI: a token that the documentation's Authorize button gets by signing in, or one that one has. */
const security: Record<string, string[]>[] = [{ signIn: [] }, { bearer: [] }];

/** A visit with a body and perhaps a token. */
interface Arrival extends Visit {
  body: unknown;
  bearer?: string | undefined;
}

/**
 * What @elysiajs/bearer read, if it read it from the header: it would also take a token from the
 * URL, where logs and histories keep it. The plugin reads only the usual spelling, `Bearer` and one
 * space.
 */
const tokenIn = ({ headers, bearer }: Pick<Arrival, "headers" | "bearer">): string | undefined => {
  const { authorization = "" } = headers;
  return USUAL.test(authorization) ? bearer : credentialsOf(authorization, "bearer");
};
const USUAL = /^Bearer [^ \t]/;

/** Throws what http/body could not read. */
const passBody = ({ body }: { body: unknown }) => {
  if (body instanceof Problem) throw body;
};

const stranger: Anonymous = { kind: "stranger" };

interface Admission {
  /** Also by a refresh token, in the header or as `refresh_token` in the body. */
  takesRefreshToken?: boolean;
  limits?: readonly LimitName[];
}

/** On routes that want a token: every request of somebody who is signed in counts against the first, every other against the second. */
const general: readonly LimitName[] = ["requests", "requests-stranger"];

/** Read before validation: an anonymous caller gets 401 before any 422. */
const refreshTokenIn = (body: unknown): string | undefined => {
  const { refresh_token: token } = (body ?? {}) as { refresh_token?: unknown };
  return typeof token === "string" ? token : undefined;
};

const refuseTwoTokens = (arrival: Arrival): void => {
  if (!tokenIn(arrival) || refreshTokenIn(arrival.body) === undefined) return;
  const detail = "cannot be sent together with a token in the header";
  throw new Problem("invalid_request", {
    errors: [fieldProblem("/refresh_token", "not_allowed", detail)],
  });
};

/** Finds the user and the session of a request's token, or throws after counting the request. */
function openAuthentication(ctx: Ctx, from: ReturnType<typeof actorsFrom>) {
  const refuse = async (actor: Anonymous, code: ProblemCode, token?: string): Promise<never> => {
    const uses =
      token === undefined
        ? usesOf("requests-stranger", actor.origin)
        : usesOfToken(ctx, actor, token);
    await ctx.limits.consume(actor.origin, uses);
    throw new Problem(code);
  };
  /** The caller is made only for a refusal: most requests have a good token. */
  const byAccessToken = async (actor: () => Anonymous, token: string): Promise<UserActor> =>
    (await findActor(ctx, token)) ?? refuse(actor(), "invalid_token", token);
  const byEitherToken = async (actor: Anonymous, arrival: Arrival): Promise<UserActor> => {
    const token = tokenIn(arrival);
    if (token)
      return (await findHolder(ctx, actor, token)) ?? refuse(actor, "invalid_token", token);
    const inBody = refreshTokenIn(arrival.body);
    if (inBody === undefined) return refuse(actor, "not_signed_in");
    const found = await findByRefreshToken(ctx, actor, inBody);
    return found ?? refuse(actor, "invalid_refresh_token", inBody);
  };
  const authenticate = (
    arrival: Arrival,
    { takesRefreshToken = false, limits = general }: Admission,
  ): Promise<UserActor> => {
    const actor = () => from(arrival, stranger, limits);
    if (takesRefreshToken) return byEitherToken(actor(), arrival);
    const token = tokenIn(arrival);
    return token ? byAccessToken(actor, token) : refuse(actor(), "not_signed_in");
  };
  return { authenticate, byAccessToken };
}
type MoreLimits = true | readonly LimitName[];
const withGeneral = (limits: MoreLimits) => (limits === true ? general : [...general, ...limits]);

/**
 * Says on each route who may call it: `public: true`, `anyone: [limits]`, `visitor: [limits]`, `signedIn: true` (or more limits), `holder: true`
 * or `superuser: true` (or more limits); all but the first put `actor` into the handler's hands, and say which limits a request counts
 * against. All of them stand before validation, so that a stranger is told to sign in and not how the body should look; a
 * body that could not be read (http/body) is refused right after.
 */
export const guard = (ctx: Ctx) => {
  const from = actorsFrom(openOrigins(ctx));
  const { authenticate, byAccessToken } = openAuthentication(ctx, from);

  const admit = (mayEnter: (user: User) => boolean, admission: Admission = {}) => {
    const { takesRefreshToken = false, limits = general } = admission;
    return {
      detail: {
        security: takesRefreshToken ? [...security, {}] : security,
        "x-rate-limits": limits,
      },
      // Field by field: whoever hands Elysia's context on makes it prepare all of it for each request.
      transform: async ({ request, headers, bearer, body, set, server }: Arrival) => {
        const arrival = { request, headers, bearer, body, set, server };
        const found = await authenticate(arrival, admission);
        const { id } = found.user;
        const context = contextOf(request);
        context.userId = id;
        await ctx.limits.consume(limitReportOf(arrival, limits), [{ limit: "requests", who: id }]);
        if (!mayEnter(found.user)) throw new Problem("forbidden");
        passBody(arrival);
        if (takesRefreshToken) refuseTwoTokens(arrival);
        context.actor = from(arrival, found, limits);
      },
      resolve: ({ request, headers }: Pick<Visit, "request" | "headers">) => {
        refuseUnsupported({ request, headers });
        const { actor } = contextOf(request);
        if (!actor) throw new Error("guard: resolve ran without transform");
        return { actor };
      },
    };
  };

  return new Elysia({ name: "guard" }).macro({
    ...headerMacros,
    public: { detail: { security: [] }, transform: passBody },
    /** As public, for a route that does something: `actor` is a stranger from somewhere, whom these limits hold. */
    anyone: (limits: readonly LimitName[]) => ({
      detail: { security: [], "x-rate-limits": limits },
      transform: passBody,
      resolve: ({ request, headers, set, server }: Visit): { actor: Anonymous } => {
        refuseUnsupported({ request, headers });
        return { actor: from({ request, headers, set, server }, stranger, limits) };
      },
    }),
    /** As anyone; and `holder` is who is signed in, if somebody is. A token that is not good is no silence: it is refused. */
    visitor: (limits: readonly LimitName[]) => ({
      detail: { security: [{}, ...security], "x-rate-limits": limits },
      transform: passBody,
      resolve: async ({ request, headers, bearer, set, server }: Arrival) => {
        refuseUnsupported({ request, headers });
        const actor = from({ request, headers, set, server }, stranger, limits);
        const token = tokenIn({ headers, bearer });
        const holder = token ? await byAccessToken(() => actor, token) : undefined;
        if (holder) contextOf(request).userId = holder.user.id;
        return { actor, holder };
      },
    }),
    signedIn: (limits: MoreLimits) => admit(() => true, { limits: withGeneral(limits) }),
    /** Also with the refresh token of a session in place of the access token, in the header or in the body. */
    holder: admit(() => true, { takesRefreshToken: true }),
    superuser: (limits: MoreLimits) =>
      admit((user) => user.isSuperuser, { limits: withGeneral(limits) }),
  });
};
