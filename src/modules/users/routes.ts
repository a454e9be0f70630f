import { Elysia, t } from "elysia";
import type { Ctx } from "../../ctx.ts";
import { tagged, targetOf, unlessKnown } from "../../http/etag.ts";
import { guard } from "../../http/guard.ts";
import { once } from "../../http/idempotency.ts";
import { PageQuery, readPage } from "../../http/pagination.ts";
import { bodyProblems, fails, retryProblems, tokenProblems } from "../../http/problems.ts";
import { ById } from "../../http/schemas.ts";
import { countUsers, listUsers } from "./directory.ts";
import { changesOf, UserChangesBody, UserView, userView } from "./model.ts";
import { deleteUser, getUser, unlockUser, updateUser } from "./users.ts";

const superuserProblems = [...tokenProblems, "forbidden"] as const;

export const userRoutes = (ctx: Ctx) =>
  new Elysia({ name: "users", prefix: "/users", tags: ["users"] }).use(guard(ctx)).get(
    "",
    async ({ actor, query, request, set }) => {
      const rows = await readPage(
        { query, request, set },
        { rows: (range) => listUsers(ctx, actor, range), count: () => countUsers(ctx, actor) },
      );
      return rows.map(userView);
    },
    {
      superuser: true,
      detail: {
        operationId: "listUsers",
        summary: "List users",
        description:
          'In the order of registration. If there are more, the `Link` header has the URL of the next page (`rel="next"`, RFC 8288).',
      },
      query: PageQuery,
      response: {
        200: t.Array(UserView),
        ...fails(...superuserProblems, "invalid_request"),
      },
    },
  );

export const userByIdRoutes = (ctx: Ctx) =>
  new Elysia({ name: "user-by-id", prefix: "/users", tags: ["users"] })
    .use(guard(ctx))
    .get(
      "/:id",
      async ({ actor, params, headers, set }) =>
        unlessKnown({ headers, set }, await getUser(ctx, actor, params.id), userView),
      {
        superuser: true,
        requestHeaders: ["if-match", "if-none-match"],
        detail: {
          operationId: "getUser",
          summary: "Get a user",
          description: "Any user, by id.",
        },
        params: ById,
        response: {
          200: UserView,
          304: t.Void(),
          ...fails(...superuserProblems, "not_found", "invalid_request", "stale"),
        },
      },
    )
    .patch(
      "/:id",
      async ({ actor, params, body, headers, set }) => {
        const target = targetOf({ params, headers });
        const user = await updateUser(ctx, actor, { ...target, ...changesOf(body) });
        return userView(tagged(set, user));
      },
      {
        superuser: ["changes"],
        requestHeaders: ["if-match"],
        detail: {
          operationId: "updateUser",
          summary: "Update a user",
          description:
            "JSON Merge Patch (RFC 7396). A deactivated user is refused within a second. The last active superuser can be neither demoted nor deactivated.",
        },
        params: ById,
        body: UserChangesBody,
        response: {
          200: UserView,
          ...fails(
            ...superuserProblems,
            ...bodyProblems,
            "not_found",
            "username_taken",
            "last_superuser",
            "stale",
          ),
        },
      },
    )
    .delete(
      "/:id",
      async ({ actor, params, headers, status }) => {
        await deleteUser(ctx, actor, targetOf({ params, headers }));
        return status(204, undefined);
      },
      {
        superuser: true,
        requestHeaders: ["if-match"],
        detail: {
          operationId: "deleteUser",
          summary: "Delete a user",
          description:
            "Deletes the user permanently, with all of their sessions. The last active superuser cannot be deleted.",
        },
        params: ById,
        response: {
          204: t.Void(),
          ...fails(...superuserProblems, "not_found", "invalid_request", "last_superuser", "stale"),
        },
      },
    );

export const userSupportRoutes = (ctx: Ctx) =>
  new Elysia({ name: "user-support", prefix: "/users", tags: ["users"] }).use(guard(ctx)).post(
    "/:id/unlock",
    async ({ actor, params, headers, set, status }) => {
      const route = `unlock ${params.id}`;
      await once(ctx, { actor, body: null, headers, set, route }, async () => {
        await unlockUser(ctx, actor, params.id);
      });
      return status(204, undefined);
    },
    {
      superuser: true,
      requestHeaders: ["idempotency-key"],
      detail: {
        operationId: "unlockUser",
        summary: "Unlock a user",
        description:
          "Clears the failed sign-ins of a user. Clients that have not signed in before can sign in again after too many failures (`login-account`, `login-streak`).",
      },
      params: ById,
      response: {
        204: t.Void(),
        ...fails(...superuserProblems, ...bodyProblems, ...retryProblems, "not_found"),
      },
    },
  );
