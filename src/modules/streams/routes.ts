import { Elysia } from "elysia";
import type { Anonymous, Ctx, UserActor } from "../../ctx.ts";
import { openWebSocketOriginCheck } from "../../http/cross-site.ts";
import { eventStreamResponse } from "../../http/event-stream.ts";
import { guard } from "../../http/guard.ts";
import { fails, tokenProblems } from "../../http/problems.ts";
import type { RequestParts } from "../../http/request-context.ts";
import { requireHandshake, upgrade } from "../../http/sockets.ts";
import type { StreamView } from "../../kit/event-streams.ts";
import { Problem } from "../../kit/problem.ts";
import { requireReadable } from "../events/feed.ts";
import { readStreamFilter, ServerSentEvents, StreamQuery, SwitchingProtocols } from "./model.ts";
import { openStreamSocket } from "./protocol.ts";
import { openStream, requireViewOf } from "./streams.ts";
import { countUnauthenticated } from "./unauthenticated.ts";

type StreamParts = Pick<RequestParts, "request" | "headers" | "server">;
interface FilteredParts extends StreamParts {
  query: typeof StreamQuery.static;
}
/** Without a token in the handshake, `caller` is undefined. */
interface SocketCaller {
  actor: Anonymous;
  caller: UserActor | undefined;
}

/** The handlers of both kinds of streams, for one view of the events. */
function openHandlers(ctx: Ctx, view: StreamView) {
  const isAllowedOrigin = openWebSocketOriginCheck(ctx.config);
  const unauthenticated = countUnauthenticated();

  const respondWithEvents = async (actor: UserActor, parts: FilteredParts): Promise<Response> => {
    requireViewOf(actor, view);
    const filter = readStreamFilter(parts);
    if (filter.after) await requireReadable(ctx, filter.after);
    return eventStreamResponse(parts, {
      open: (transport) => openStream(ctx, actor, { view, transport }),
      streams: ctx.streams,
      filter,
    });
  };

  const acceptSocket = ({ actor, caller }: SocketCaller, parts: StreamParts): Response => {
    requireHandshake(parts);
    if (!isAllowedOrigin(parts.request.headers.get("origin")))
      throw new Problem("cross_site_request", {
        detail: "WebSockets from this origin are not allowed",
      });
    const socket = caller
      ? openStreamSocket(ctx, { view, actor: caller })
      : openStreamSocket(ctx, {
          view,
          release: unauthenticated.acquire(actor.origin?.clientKey ?? null),
        });
    return upgrade(parts, socket);
  };
  return { respondWithEvents, acceptSocket };
}

const SSE_DESCRIPTION = `Server-sent events: \`id\` is the cursor, \`event\` the type, \`data\` the envelope on one line. Without a cursor, events from now on. To resume after the last event that you have, send its \`id\` in the header Last-Event-ID, as browsers do, or as \`after\`. The stream ends when the access token expires, within a second after the session or the permission ends, when the server restarts, and when the client reads too slowly: connect again with the cursor. Every 15 seconds, a comment keeps the connection open.`;

const WEBSOCKET_DESCRIPTION = `A WebSocket (RFC 6455). Authenticate by the header Authorization, by the subprotocol \`bearer.<token>\` beside \`bunker.v1\`, or within 5 seconds by the message \`{"type":"authenticate","token":"…"}\`. Then send \`{"type":"subscribe","events":["user.created"]}\`, or \`"events":"*"\` for all types; \`"after"\` is the cursor to resume after. The server answers \`{"type":"subscribed","after":"<cursor>"}\`. From then on, each message is the envelope of one event. docs/events.md lists the close codes.`;

const streamProblems = [
  ...tokenProblems,
  "invalid_request",
  "too_many_streams",
  "streams_unavailable",
] as const;

const socketProblems = [
  ...streamProblems,
  "forbidden",
  "cross_site_request",
  "upgrade_required",
] as const;

const sse = (operationId: string, summary: string) => ({
  requestHeaders: ["last-event-id"] as const,
  detail: { operationId, summary, description: SSE_DESCRIPTION },
  query: StreamQuery,
});
const webSocket = (operationId: string, summary: string) => ({
  webSocket: true as const,
  detail: { operationId, summary, description: WEBSOCKET_DESCRIPTION },
});

/** All events, for superusers. */
export const streamRoutes = (ctx: Ctx) => {
  const { respondWithEvents, acceptSocket } = openHandlers(ctx, "all");
  return new Elysia({ name: "streams", prefix: "/events", tags: ["events"] })
    .use(guard(ctx))
    .get(
      "/stream",
      ({ actor, request, headers, server, query }) =>
        respondWithEvents(actor, { request, headers, server, query }),
      {
        superuser: true,
        ...sse("streamEvents", "Stream events (SSE)"),
        response: {
          200: ServerSentEvents,
          ...fails(...streamProblems, "cursor_expired", "forbidden"),
        },
      },
    )
    .get(
      "/ws",
      ({ actor, caller, request, headers, server }) =>
        acceptSocket({ actor, caller }, { request, headers, server }),
      {
        ...webSocket("openEventSocket", "Stream events (WebSocket)"),
        response: {
          101: SwitchingProtocols,
          ...fails(...socketProblems),
        },
      },
    );
};

/** Events about the caller. */
export const ownStreamRoutes = (ctx: Ctx) => {
  const { respondWithEvents, acceptSocket } = openHandlers(ctx, "own");
  return new Elysia({ name: "own-streams", prefix: "/users/me/events", tags: ["events"] })
    .use(guard(ctx))
    .get(
      "/stream",
      ({ actor, request, headers, server, query }) =>
        respondWithEvents(actor, { request, headers, server, query }),
      {
        user: true,
        ...sse("streamMyEvents", "Stream your events (SSE)"),
        response: { 200: ServerSentEvents, ...fails(...streamProblems, "cursor_expired") },
      },
    )
    .get(
      "/ws",
      ({ actor, caller, request, headers, server }) =>
        acceptSocket({ actor, caller }, { request, headers, server }),
      {
        ...webSocket("openMyEventSocket", "Stream your events (WebSocket)"),
        response: { 101: SwitchingProtocols, ...fails(...socketProblems) },
      },
    );
};
