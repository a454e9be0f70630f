import { Elysia } from "elysia";
import type { Ctx, Stranger, User } from "../ctx.ts";
import { type LimitName, spendingsOf } from "../kit/limits.ts";
import { Problem } from "../kit/problem.ts";
import { findActor, findHolder } from "../modules/auth/auth.ts";
import { trailOf } from "./trail.ts";
import { actorsFrom, ledgerOf, openOrigins, type Visit } from "./visit.ts";

/** For OpenAPI: a token that the documentation's Authorize button gets by signing in, or one that one has. */
const security: Record<string, string[]>[] = [{ signIn: [] }, { bearer: [] }];

/** A visit with a body and perhaps a token; exported because the declarations for Eden name it. */
export interface Arrival extends Visit {
  body: unknown;
  bearer?: string | undefined;
}

/**
 * What @elysiajs/bearer read, if it read it from the header: it would also take a token from the URL, where logs and
 * histories keep it. The scheme is written in any case (RFC 9110, section 11.1), which the plugin does not know.
 */
const tokenOf = (authorization: string, bearer: string | undefined): string | undefined =>
  authorization.startsWith("Bearer ") ? bearer : /^bearer +(\S+)$/i.exec(authorization)?.[1];

/** Throws what http/body could not read. */
const passBody = ({ body }: { body: unknown }) => {
  if (body instanceof Problem) throw body;
};

const stranger: Stranger = { kind: "stranger" };

interface Admission {
  find?: typeof findHolder;
  limits?: readonly LimitName[];
}

/** On routes that want a token: every request of somebody who is signed in counts against the first, every other against the second. */
const general: readonly LimitName[] = ["requests", "requests-stranger"];

/**
 * Says on each route who may call it: `public: true`, `anyone: [limits]`, `visitor: [limits]`, `signedIn: true` (or more limits), `holder: true`
 * or `superuser: true`; all but the first put `actor` into the handler's hands, and say which limits a request counts
 * against. All of them stand before validation, so that a stranger is told to sign in and not how the body should look; a
 * body that could not be read (http/body) is refused right after.
 */
export const guard = (ctx: Ctx) => {
  const originOf = openOrigins(ctx);
  const from = actorsFrom(originOf);

  const refuse = async (visit: Visit, code: "not_signed_in" | "invalid_token"): Promise<never> => {
    const origin = originOf(visit, general);
    await ctx.limits.spend(origin, spendingsOf("requests-stranger", origin));
    throw new Problem(code);
  };

  const admit = (
    mayEnter: (user: User) => boolean,
    { find = findActor, limits = general }: Admission = {},
  ) => ({
    detail: { security, "x-rate-limits": limits },
    // Field by field: whoever hands Elysia's context on makes it prepare all of it for each request.
    transform: async ({ request, headers, bearer, body, set, server }: Arrival) => {
      const visit = { request, headers, set, server };
      const token = tokenOf(headers["authorization"] ?? "", bearer);
      if (!token) return refuse(visit, "not_signed_in");
      const found = await find(ctx, token);
      if (!found) return refuse(visit, "invalid_token");
      const trail = trailOf(request);
      trail.userId = found.user.id;
      const actor = from(visit, found, limits);
      await ctx.limits.spend(ledgerOf(visit, limits), [{ limit: "requests", who: found.user.id }]);
      if (!mayEnter(found.user)) throw new Problem("forbidden");
      passBody({ body });
      trail.actor = actor;
    },
    resolve: ({ request }: { request: Request }) => {
      const { actor } = trailOf(request);
      if (!actor) throw new Error("guard: resolve ran without transform");
      return { actor };
    },
    // What a request has changed is seen by the next one, without waiting for the news from the database.
    afterHandle: ({ request, params }: { request: Request; params: unknown }) => {
      if (request.method === "GET") return;
      ctx.principals.forget(trailOf(request).actor?.user.id ?? "");
      ctx.principals.forget((params as { id?: string } | undefined)?.id ?? "");
    },
  });

  return new Elysia({ name: "guard" }).macro({
    public: { detail: { security: [] }, transform: passBody },
    /** As public, for a route that does something: `actor` is a stranger from somewhere, whom these limits hold. */
    anyone: (limits: readonly LimitName[]) => ({
      detail: { security: [], "x-rate-limits": limits },
      transform: passBody,
      resolve: ({ request, headers, set, server }: Visit): { actor: Stranger } => ({
        actor: from({ request, headers, set, server }, stranger, limits),
      }),
    }),
    /** As anyone; and `holder` is who is signed in, if somebody is. A token that is not good is no silence: it is refused. */
    visitor: (limits: readonly LimitName[]) => ({
      detail: { security: [{}, ...security], "x-rate-limits": limits },
      transform: passBody,
      resolve: async ({ request, headers, bearer, set, server }: Arrival) => {
        const actor = from({ request, headers, set, server }, stranger, limits);
        const token = tokenOf(headers["authorization"] ?? "", bearer);
        const holder = token ? await findActor(ctx, token) : undefined;
        if (token && !holder) throw new Problem("invalid_token");
        if (holder) trailOf(request).userId = holder.user.id;
        return { actor, holder };
      },
    }),
    signedIn: (limits: true | readonly LimitName[]) =>
      admit(() => true, { limits: limits === true ? general : [...general, ...limits] }),
    /** Also with the refresh token of a session in place of the access token. */
    holder: admit(() => true, { find: findHolder }),
    superuser: admit((user) => user.isSuperuser),
  });
};
