import type { Server } from "bun";
import { Elysia } from "elysia";
import type { Ctx, Origin, SignedIn, Stranger, User } from "../ctx.ts";
import { Problem } from "../kit/problem.ts";
import { findActor, findHolder } from "../modules/auth/auth.ts";

/** For OpenAPI: a token that the documentation's Authorize button gets by signing in, or one that one has. */
const security: Record<string, string[]>[] = [{ signIn: [] }, { bearer: [] }];

/** Exported because the declarations for Eden name it. */
export interface Arrival {
  request: Request;
  headers: Record<string, string | undefined>;
  body: unknown;
  bearer?: string | undefined;
  set: { headers: Record<string, string | number | string[] | undefined> };
  server: Server<unknown> | null;
}

const USER_AGENT_MAX = 512;

const originOf = ({ request, headers, set, server }: Omit<Arrival, "body">): Origin => ({
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

/**
 * Says on each route who may call it: `public: true`, `signedIn: true`, `holder: true` or `superuser: true`, and puts
 * `actor` into the handler's hands. All of them stand before validation, so that a stranger is told to sign in and not how the
 * body should look; a body that could not be read (http/body) is refused right after.
 */
export const guard = (ctx: Ctx) => {
  const admitted = new WeakMap<Request, SignedIn>();

  const admit = (mayEnter: (user: User) => boolean, find: typeof findHolder = findActor) => ({
    transform: async (arrival: Arrival) => {
      const { request, headers, bearer, body } = arrival;
      const token = tokenOf(headers["authorization"] ?? "", bearer);
      if (!token) throw new Problem("not_signed_in");
      const actor = await find(ctx, token);
      if (!actor) throw new Problem("invalid_token");
      if (!mayEnter(actor.user)) throw new Problem("forbidden");
      if (body instanceof Problem) throw body;
      admitted.set(request, { ...actor, origin: originOf(arrival) });
    },
    resolve: ({ request }: { request: Request }) => {
      const actor = admitted.get(request);
      if (!actor) throw new Error("guard: resolve ran without transform");
      return { actor };
    },
  });

  return new Elysia({ name: "guard" }).macro({
    public: {
      detail: { security: [] },
      transform: ({ body }: { body: unknown }) => {
        if (body instanceof Problem) throw body;
      },
      resolve: (arrival: Omit<Arrival, "body">): { actor: Stranger } => ({
        actor: { kind: "stranger", origin: originOf(arrival) },
      }),
    },
    signedIn: { detail: { security }, ...admit(() => true) },
    /** Also with the refresh token of a session in place of the access token. */
    holder: { detail: { security }, ...admit(() => true, findHolder) },
    superuser: { detail: { security }, ...admit((user) => user.isSuperuser) },
  });
};
