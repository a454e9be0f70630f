import { t } from "elysia";
import { repeatedIn } from "../../http/query.ts";
import type { RequestParts } from "../../http/request-context.ts";
import { described, MEDIA_TYPE } from "../../http/schemas.ts";
import type { StreamFilter } from "../../kit/event-streams.ts";
import { accept, type FieldProblem, fieldProblem } from "../../kit/problem.ts";
import { type EventCursor, parseCursor } from "../events/cursor.ts";
import { EnvelopeView } from "../events/model.ts";
import { EventQuery, readAfter, readTypes } from "../events/query.ts";

const { after, type } = EventQuery.properties;

export const StreamQuery = t.Object({ after, type }, { additionalProperties: false });

interface StreamRequest extends Pick<RequestParts, "request" | "headers"> {
  query: typeof StreamQuery.static;
}

/** Throws `invalid_request`. A client that reconnects keeps the query and sends a newer header. */
export function readStreamFilter({ query, headers, request }: StreamRequest): StreamFilter {
  const lastEventId = headers["last-event-id"];
  const { after, types, resumed } = accept({
    after: query.after === undefined ? undefined : readAfter(query.after),
    types: query.type === undefined ? undefined : readTypes(query.type),
    resumed: lastEventId === undefined ? undefined : readLastEventId(lastEventId),
    ...repeatedIn(request.url),
  });
  return { after: resumed ?? after, types };
}

const readLastEventId = (text: string): EventCursor | FieldProblem =>
  parseCursor(text) ?? fieldProblem("/header/Last-Event-ID", "wrong_format");

/** What Eden reads from the stream. `id` is missing: Eden makes a number of some cursors. */
interface ServerSentEvent {
  event?: string;
  data?: typeof EnvelopeView.static;
}

export const ServerSentEvents = described<AsyncGenerator<ServerSentEvent, void, unknown>>({
  ...EnvelopeView,
  [MEDIA_TYPE]: "text/event-stream",
});

export const SwitchingProtocols = t.Void({ description: "The connection is a WebSocket." });
