import type { Server } from "bun";
import { Elysia } from "elysia";
import type { Ctx, Origin, SignedIn, Stranger, User } from "../ctx.ts";
import { Problem } from "../kit/problem.ts";
import { findActor, findHolder } from "../modules/auth/auth.ts";

/** For OpenAPI: a token that the documentation's Authorize button gets by signing in, or one that one has. */
const security: Record<string, string[]>[] = [{ signIn: [] }, { bearer: [] }];

/** Where a request came from. Both are exported because the declarations for Eden name them. */
export interface Visit {
  request: Request;
  headers: Record<string, string | undefined>;
  set: { headers: Record<string, string | number | string[] | undefined> };
  server: Server<unknown> | null;
}
export interface Arrival extends Visit {
  body: unknown;
  bearer?: string | undefined;
}

const USER_AGENT_MAX = 512;

const originOf = ({ request, headers, set, server }: Visit): Origin => ({
  address: server?.requestIP(request)?.address ?? null,
  userAgent: headers["user-agent"]?.slice(0, USER_AGENT_MAX) ?? null,
  requestId: String(set.headers["x-request-id"]),
});

/**
 * What @elysiajs/bearer read, if it read it from the header: it would also take a token from the URL, where logs and
 * histories keep it. The scheme is written in any case (RFC 9110, section 11.1), which the plugin does not know.
 */
const tokenOf = (authorization: string, bearer: string | undefined): string | undefined =>
  authorization.startsWith("Bearer ") ? bearer : /^bearer +(\S+)$/i.exec(authorization)?.[1];

/** Most requests change nothing, and nobody asks where they came from: it is found out when somebody does. */
const from = <A extends Stranger | SignedIn>(visit: Visit, actor: A): A =>
  Object.defineProperty(actor, "origin", { get: () => originOf(visit), enumerable: true });

/** Throws what http/body could not read. */
const passBody = ({ body }: { body: unknown }) => {
  if (body instanceof Problem) throw body;
};

/**
 * Says on each route who may call it: `public: true`, `anyone: true`, `signedIn: true`, `holder: true` or
 * `superuser: true`; all but the first put `actor` into the handler's hands. All of them stand before validation, so that a
 * stranger is told to sign in and not how the body should look; a body that could not be read (http/body) is refused right
 * after.
 */
export const guard = (ctx: Ctx) => {
  const admitted = new WeakMap<Request, SignedIn>();

  const admit = (mayEnter: (user: User) => boolean, find: typeof findHolder = findActor) => ({
    // Field by field: whoever hands Elysia's context on makes it prepare all of it for each request.
    transform: async ({ request, headers, bearer, body, set, server }: Arrival) => {
      const token = tokenOf(headers["authorization"] ?? "", bearer);
      if (!token) throw new Problem("not_signed_in");
      const actor = await find(ctx, token);
      if (!actor) throw new Problem("invalid_token");
      if (!mayEnter(actor.user)) throw new Problem("forbidden");
      passBody({ body });
      admitted.set(request, from({ request, headers, set, server }, actor));
    },
    resolve: ({ request }: { request: Request }) => {
      const actor = admitted.get(request);
      if (!actor) throw new Error("guard: resolve ran without transform");
      return { actor };
    },
    // What a request has changed is seen by the next one, without waiting for the news from the database.
    afterHandle: ({ request, params }: { request: Request; params: unknown }) => {
      if (request.method === "GET") return;
      ctx.principals.forget(admitted.get(request)?.user.id ?? "");
      ctx.principals.forget((params as { id?: string } | undefined)?.id ?? "");
    },
  });

  return new Elysia({ name: "guard" }).macro({
    public: { detail: { security: [] }, transform: passBody },
    /** As public, for a route that does something: `actor` is a stranger from somewhere. */
    anyone: {
      detail: { security: [] },
      transform: passBody,
      resolve: ({ request, headers, set, server }: Visit): { actor: Stranger } => ({
        actor: from({ request, headers, set, server }, { kind: "stranger" }),
      }),
    },
    signedIn: { detail: { security }, ...admit(() => true) },
    /** Also with the refresh token of a session in place of the access token. */
    holder: { detail: { security }, ...admit(() => true, findHolder) },
    superuser: { detail: { security }, ...admit((user) => user.isSuperuser) },
  });
};
