import { Elysia, t } from "elysia";
import type { Ctx } from "../../ctx.ts";
import { guard } from "../../http/guard.ts";
import { fails, tokenProblems } from "../../http/problems.ts";
import { ById } from "../../http/schemas.ts";
import { SessionView, sessionView } from "./model.ts";
import { endSession, listSessions, logOut } from "./sessions.ts";

/** The caller's own sessions. */
export const sessionRoutes = (ctx: Ctx) =>
  new Elysia({ name: "sessions", prefix: "/users/me/sessions", tags: ["sessions"] })
    .use(guard(ctx))
    .get(
      "",
      async ({ actor }) =>
        Promise.all(
          (await listSessions(ctx, actor)).map((session) => sessionView(session, actor.session.id)),
        ),
      {
        user: true,
        detail: {
          operationId: "listSessions",
          summary: "List your sessions",
          description: "Your active sessions, the most recently used first.",
        },
        response: { 200: t.Array(SessionView), ...fails(...tokenProblems) },
      },
    )
    .delete(
      "",
      async ({ actor, status }) => {
        await logOut(ctx, actor, "others");
        return status(204, undefined);
      },
      {
        user: true,
        detail: {
          operationId: "endOtherSessions",
          summary: "Sign out everywhere else",
          description: "Ends all of your sessions except this one, with their access tokens.",
        },
        response: { 204: t.Void(), ...fails(...tokenProblems) },
      },
    )
    .delete(
      "/:id",
      async ({ actor, params, status }) => {
        await endSession(ctx, actor, params.id);
        return status(204, undefined);
      },
      {
        user: true,
        detail: {
          operationId: "endSession",
          summary: "End a session",
          description: "Ends one of your sessions, with its access tokens.",
        },
        params: ById,
        response: { 204: t.Void(), ...fails(...tokenProblems, "not_found", "invalid_request") },
      },
    );
