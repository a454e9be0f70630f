import { Elysia, t } from "elysia";
import type { Ctx } from "../../ctx.ts";
import { guard } from "../../http/guard.ts";
import { PageQuery, readPage, readRows } from "../../http/pagination.ts";
import { bodyProblems, fails, tokenProblems } from "../../http/problems.ts";
import { ById, changesOf, ProfileChanges, UserChanges, UserView, userView } from "./model.ts";
import { countUsers, getUser, listUsers, updateUser } from "./users.ts";

/** One's own account. */
export const meRoutes = (ctx: Ctx) =>
  new Elysia({ name: "me", prefix: "/users/me", tags: ["users"] })
    .use(guard(ctx))
    .model({ User: UserView })
    .get("", ({ actor }) => userView(actor.user), {
      signedIn: true,
      detail: {
        operationId: "getMe",
        summary: "Read yourself",
        description: "The account that the access token belongs to.",
      },
      response: { 200: "User", ...fails(...tokenProblems) },
    })
    .put(
      "",
      async ({ actor, body }) =>
        userView(await updateUser(ctx, actor, { id: actor.user.id, ...changesOf(body) })),
      {
        signedIn: true,
        detail: {
          operationId: "putMe",
          summary: "Change yourself",
          description: "Does the same as PATCH: a field left out stays as it is.",
        },
        body: ProfileChanges,
        response: { 200: "User", ...fails(...tokenProblems, ...bodyProblems, "username_taken") },
      },
    )
    .patch(
      "",
      async ({ actor, body }) =>
        userView(await updateUser(ctx, actor, { id: actor.user.id, ...changesOf(body) })),
      {
        signedIn: true,
        detail: {
          operationId: "updateMe",
          summary: "Change some of yourself",
          description:
            "JSON Merge Patch (RFC 7396): a field left out stays as it is, null clears it.",
        },
        body: ProfileChanges,
        response: { 200: "User", ...fails(...tokenProblems, ...bodyProblems, "username_taken") },
      },
    );

const superuserProblems = [...tokenProblems, "forbidden"] as const;

/** Everybody's accounts, for superusers. */
export const userRoutes = (ctx: Ctx) =>
  new Elysia({ name: "users", prefix: "/users", tags: ["users"] })
    .use(guard(ctx))
    .model({ User: UserView })
    .get(
      "",
      async ({ actor, query, set }) => {
        const page = readPage(query);
        const { rows, headers } = await readRows(page, {
          path: "/api/v1/users",
          list: (limit) => listUsers(ctx, actor, { start: page.start, limit }),
          count: () => countUsers(ctx, actor),
        });
        Object.assign(set.headers, headers);
        return rows.map(userView);
      },
      {
        superuser: true,
        detail: {
          operationId: "listUsers",
          summary: "List users",
          description:
            'In the order in which they registered. While there are more, the `Link` header has the URL of the next page (`rel="next"`, RFC 8288).',
        },
        query: PageQuery,
        response: {
          200: t.Array(t.Ref("User")),
          ...fails(...superuserProblems, "invalid_request"),
        },
      },
    )
    .get("/:id", async ({ actor, params }) => userView(await getUser(ctx, actor, params.id)), {
      superuser: true,
      detail: {
        operationId: "getUser",
        summary: "Read a user",
        description: "Any account, by its id.",
      },
      params: ById,
      response: { 200: "User", ...fails(...superuserProblems, "not_found", "invalid_request") },
    })
    .patch(
      "/:id",
      async ({ actor, params, body }) =>
        userView(await updateUser(ctx, actor, { id: params.id, ...changesOf(body) })),
      {
        superuser: true,
        detail: {
          operationId: "updateUser",
          summary: "Change a user",
          description:
            "JSON Merge Patch (RFC 7396). A deactivated user is refused from the next request on. The last active superuser can be neither demoted nor deactivated.",
        },
        params: ById,
        body: UserChanges,
        response: {
          200: "User",
          ...fails(
            ...superuserProblems,
            ...bodyProblems,
            "not_found",
            "username_taken",
            "last_superuser",
          ),
        },
      },
    );
