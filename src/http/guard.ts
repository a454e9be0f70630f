import { Elysia } from "elysia";
import type { Anonymous, Ctx, User, UserActor } from "../ctx.ts";
import { credentialsOf } from "../kit/authorization.ts";
import { fieldProblem, Problem } from "../kit/problem.ts";
import type { ProblemCode } from "../kit/problem-codes.ts";
import { type LimitName, usesOf } from "../limits/policies.ts";
import {
  findActor,
  findByEitherToken,
  findByRefreshToken,
  usesOfToken,
} from "../modules/sessions/principal.ts";
import { headerMacros, refuseUnsupported } from "./headers.ts";
import { actorsFrom, limitReportOf, openOrigins } from "./origin.ts";
import { contextOf, type RequestParts } from "./request-context.ts";
import { protocolsIn, TOKEN_PREFIX } from "./sockets.ts";

type MoreLimits = true | readonly LimitName[];
/**
 * The route guard. Each route declares who may call it:
 * - `public: true`: every caller. The handler gets no actor, and consumes no limit.
 * - `anonymous: [limits]`: every caller. `actor` is anonymous.
 * - `optional: [more limits]`: as `anonymous`. With a valid access token, `caller` is its user.
 * - `user: true` or more limits: users with an access token.
 * - `eitherToken: true`: users with an access token, or a refresh token in header or body.
 * - `superuser: true` or more limits: superusers with an access token.
 * - `webSocket: true`: as `optional`, by header or subprotocol. Without a token, `caller` is
 *   undefined: the client has to authenticate by a message.
 *
 * All but `public` pass `actor` to the handler and declare the limits of the route. A token is
 * checked before validation: without a valid one, a client gets 401 and learns nothing about the
 * body. All refuse a body that http/body could not read, after the token.
 */
export const guard = (ctx: Ctx) => {
  const withOrigin = actorsFrom(openOrigins(ctx));
  const { authenticate, byAccessToken } = openAuthentication(ctx, withOrigin);

  const requireUser = (isAllowed: (user: User) => boolean, requirements: Requirements = {}) => {
    const { takesRefreshToken = false, limits = generalLimits } = requirements;
    return {
      detail: {
        security: takesRefreshToken ? [...security, {}] : security,
        "x-rate-limits": limits,
      },
      // Field by field: passed on whole, Elysia prepares all of the context for each request.
      transform: async ({ request, headers, bearer, body, set, server }: GuardedRequest) => {
        const guarded = { request, headers, bearer, body, set, server };
        const found = await authenticate(guarded, requirements);
        const { id } = found.user;
        const context = contextOf(request);
        context.userId = id;
        await ctx.limits.consume(limitReportOf(guarded, limits), [{ limit: "requests", who: id }]);
        if (!isAllowed(found.user)) throw new Problem("forbidden");
        refuseUnreadableBody(guarded);
        if (takesRefreshToken) refuseTwoTokens(guarded);
        context.actor = withOrigin(guarded, found, limits);
      },
      resolve: ({ request, headers }: Pick<RequestParts, "request" | "headers">) => {
        refuseUnsupported({ request, headers });
        const { actor } = contextOf(request);
        if (!actor) throw new Error("guard: resolve ran without transform");
        return { actor };
      },
    };
  };

  return new Elysia({ name: "guard" }).macro({
    ...headerMacros,
    public: { detail: { security: [] }, transform: refuseUnreadableBody },
    anonymous: (limits: readonly LimitName[]) => ({
      detail: { security: [], "x-rate-limits": limits },
      transform: refuseUnreadableBody,
      resolve: ({ request, headers, set, server }: RequestParts): { actor: Anonymous } => {
        refuseUnsupported({ request, headers });
        return { actor: withOrigin({ request, headers, set, server }, anonymous, limits) };
      },
    }),
    optional: (more: readonly LimitName[]) => {
      const limits = [...more, ...generalLimits];
      return {
        detail: { security: [{}, ...security], "x-rate-limits": limits },
        transform: async ({ request, headers, bearer, body, set, server }: GuardedRequest) => {
          const token = tokenIn({ headers, bearer });
          if (token) {
            const actor = () => withOrigin({ request, headers, set, server }, anonymous, limits);
            const context = contextOf(request);
            context.actor = await byAccessToken(actor, token);
            context.userId = context.actor.user.id;
          }
          refuseUnreadableBody({ body });
        },
        resolve: ({ request, headers, set, server }: RequestParts) => {
          refuseUnsupported({ request, headers });
          const actor = withOrigin({ request, headers, set, server }, anonymous, limits);
          return { actor, caller: contextOf(request).actor };
        },
      };
    },
    user: (limits: MoreLimits) => requireUser(() => true, { limits: withGeneralLimits(limits) }),
    eitherToken: requireUser(() => true, { takesRefreshToken: true }),
    superuser: (limits: MoreLimits) =>
      requireUser((user) => user.isSuperuser, { limits: withGeneralLimits(limits) }),
    webSocket: openSocketGuard(ctx, withOrigin),
  });
};

function openSocketGuard(ctx: Ctx, withOrigin: ReturnType<typeof actorsFrom>) {
  const { byAccessToken } = openAuthentication(ctx, withOrigin);
  return {
    detail: { security: [...security, {}], "x-rate-limits": generalLimits },
    transform: async ({ request, headers, bearer, set, server }: GuardedRequest) => {
      const parts = { request, headers, set, server };
      const actor = () => withOrigin(parts, anonymous, generalLimits);
      const token = tokenIn({ headers, bearer }) ?? tokenInProtocols(headers);
      if (token === undefined) {
        const { origin } = actor();
        return ctx.limits.consume(origin, usesOf("requests-anonymous", origin));
      }
      const found = await byAccessToken(actor, token);
      const { id } = found.user;
      contextOf(request).userId = id;
      contextOf(request).actor = found;
      const report = limitReportOf({ set }, generalLimits);
      return ctx.limits.consume(report, [{ limit: "requests", who: id }]);
    },
    resolve: ({ request, headers, set, server }: RequestParts) => {
      refuseUnsupported({ request, headers });
      const actor = withOrigin({ request, headers, set, server }, anonymous, generalLimits);
      return { actor, caller: contextOf(request).actor };
    },
  };
}

interface Requirements {
  /** Also accepts a refresh token, in the header or as `refresh_token` in the body. */
  takesRefreshToken?: boolean;
  limits?: readonly LimitName[];
}

/**
 * `requests` counts by user, or by session for an expired, revoked or spent token that Bunker
 * issued. Any other request consumes `requests-anonymous`.
 */
const generalLimits: readonly LimitName[] = ["requests", "requests-anonymous"];

const withGeneralLimits = (limits: MoreLimits) =>
  limits === true ? generalLimits : [...generalLimits, ...limits];

/** The Authorize button of /docs gets a token by signing in, or takes an existing one. */
const security: Record<string, string[]>[] = [{ signIn: [] }, { bearer: [] }];

const anonymous: Anonymous = { kind: "anonymous" };

/** A request with its body, and the token that @elysiajs/bearer found. */
interface GuardedRequest extends RequestParts {
  body: unknown;
  bearer?: string | undefined;
}

/** Finds the user of a token. Without a valid one, counts the request and throws. */
function openAuthentication(ctx: Ctx, withOrigin: ReturnType<typeof actorsFrom>) {
  const refuse = async (actor: Anonymous, code: ProblemCode, token?: string): Promise<never> => {
    const uses =
      token === undefined
        ? usesOf("requests-anonymous", actor.origin)
        : usesOfToken(ctx, actor, token);
    await ctx.limits.consume(actor.origin, uses);
    throw new Problem(code);
  };
  /** Creates the anonymous actor only for a refusal: most requests have a valid token. */
  const byAccessToken = async (actor: () => Anonymous, token: string): Promise<UserActor> =>
    (await findActor(ctx, token)) ?? refuse(actor(), "invalid_token", token);
  const byEitherToken = async (actor: Anonymous, guarded: GuardedRequest): Promise<UserActor> => {
    const token = tokenIn(guarded);
    if (token)
      return (await findByEitherToken(ctx, actor, token)) ?? refuse(actor, "invalid_token", token);
    const inBody = refreshTokenIn(guarded.body);
    if (inBody === undefined) return refuse(actor, "not_signed_in");
    const found = await findByRefreshToken(ctx, actor, inBody);
    return found ?? refuse(actor, "invalid_refresh_token", inBody);
  };
  const authenticate = (
    guarded: GuardedRequest,
    { takesRefreshToken = false, limits = generalLimits }: Requirements,
  ): Promise<UserActor> => {
    const actor = () => withOrigin(guarded, anonymous, limits);
    if (takesRefreshToken) return byEitherToken(actor(), guarded);
    const token = tokenIn(guarded);
    return token ? byAccessToken(actor, token) : refuse(actor(), "not_signed_in");
  };
  return { authenticate, byAccessToken };
}

/**
 * Ignores a token that @elysiajs/bearer read from the URL: logs and browser histories keep URLs.
 * The plugin accepts only `Bearer` and one space; `credentialsOf` reads other spellings.
 */
const tokenIn = ({
  headers,
  bearer,
}: Pick<GuardedRequest, "headers" | "bearer">): string | undefined => {
  const { authorization = "" } = headers;
  return USUAL_SPELLING.test(authorization) ? bearer : credentialsOf(authorization, "bearer");
};
const USUAL_SPELLING = /^Bearer [^ \t]/;

/** Browsers cannot set headers of a WebSocket. Tokens have only characters of a subprotocol. */
const tokenInProtocols = (headers: RequestParts["headers"]): string | undefined =>
  protocolsIn(headers)
    .find((protocol) => protocol.startsWith(TOKEN_PREFIX))
    ?.slice(TOKEN_PREFIX.length);

/** Read before validation: an anonymous caller gets 401, never 422. */
const refreshTokenIn = (body: unknown): string | undefined => {
  const { refresh_token: token } = (body ?? {}) as { refresh_token?: unknown };
  return typeof token === "string" ? token : undefined;
};

const refuseTwoTokens = (guarded: GuardedRequest): void => {
  if (!tokenIn(guarded) || refreshTokenIn(guarded.body) === undefined) return;
  const detail = "cannot be sent together with a token in the header";
  throw new Problem("invalid_request", {
    errors: [fieldProblem("/refresh_token", "not_allowed", detail)],
  });
};

const refuseUnreadableBody = ({ body }: { body: unknown }) => {
  if (body instanceof Problem) throw body;
};
