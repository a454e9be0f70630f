import { Elysia, t } from "elysia";
import type { Ctx } from "../../ctx.ts";
import { guard } from "../../http/guard.ts";
import { fails, tokenProblems } from "../../http/problems.ts";
import { envelopeOf } from "./envelope.ts";
import { listEvents } from "./feed.ts";
import { EnvelopeView } from "./model.ts";
import { EventQuery, readEventPage } from "./query.ts";

export const eventRoutes = (ctx: Ctx) =>
  new Elysia({ name: "events", prefix: "/events", tags: ["events"] }).use(guard(ctx)).get(
    "",
    async ({ actor, query, request, set }) => {
      const events = await readEventPage({ query, request, set }, (range) =>
        listEvents(ctx, actor, range),
      );
      return events.map((event) => envelopeOf(ctx.config, event));
    },
    {
      superuser: true,
      responseHeaders: ["link"],
      detail: {
        operationId: "listEvents",
        summary: "List events",
        description:
          'All events, oldest first. If there are more, the `Link` header has the URL of the next page (`rel="next"`, RFC 8288); follow it also if a page is empty. To poll for new events, pass the `sequence` of the last event as `after`: no event is skipped, also if its transaction commits late.',
      },
      query: EventQuery,
      response: {
        200: t.Array(EnvelopeView),
        ...fails(...tokenProblems, "forbidden", "invalid_request", "cursor_expired"),
      },
    },
  );
