import { Elysia, t } from "elysia";
import type { Ctx } from "../../ctx.ts";
import { guard } from "../../http/guard.ts";
import { PageQuery, readPage } from "../../http/pagination.ts";
import { fails, tokenProblems } from "../../http/problems.ts";
import { countOwnEvents, listOwnEvents } from "./events.ts";
import { EventView, eventView } from "./model.ts";

/** Events about the caller. */
export const myEventRoutes = (ctx: Ctx) =>
  new Elysia({ name: "my-events", prefix: "/users/me/events", tags: ["events"] })
    .use(guard(ctx))
    .get(
      "",
      async ({ actor, query, request, set }) => {
        const rows = await readPage(
          { query, request, set },
          {
            rows: (range) => listOwnEvents(ctx, actor, range),
            count: () => countOwnEvents(ctx, actor),
          },
        );
        return rows.map(eventView);
      },
      {
        user: true,
        detail: {
          operationId: "listMyEvents",
          summary: "List your events",
          description:
            'Sign-ins and changes, newest first. Those that you or an anonymous request caused include their origin. If there are more, the `Link` header has the URL of the next page (`rel="next"`, RFC 8288).',
        },
        query: PageQuery,
        response: { 200: t.Array(EventView), ...fails(...tokenProblems, "invalid_request") },
      },
    );
