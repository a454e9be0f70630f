import type { EventType } from "./event-types.ts";

export type StreamKind = "sse" | "websocket";

/** All events, or those about the user of the stream, as that user may see them. */
export type StreamView = "all" | "own";

/**
 * Why a stream ended. `canceled`: its client closed it. `refused`: its client broke the rules of
 * the protocol.
 */
export const streamEnds = [
  "canceled",
  "refused",
  "token_expired",
  "session_ended",
  "forbidden",
  "cursor_expired",
  "slow_reader",
  "restarting",
  "failed",
] as const;
export type StreamEnd = (typeof streamEnds)[number];

/** One event, encoded once for all streams that send it. */
export interface StreamMessage {
  /** The cursor of the event. Cursors sort as text. */
  sequence: string;
  type: EventType;
  /** The envelope. */
  json: string;
  /** The same as a server-sent event. The first SSE stream sets it. */
  sse?: Uint8Array;
}

/** Where the events of a stream go: an SSE response or a WebSocket. */
export interface StreamTransport {
  kind: StreamKind;
  /** Called once, before the first event. All events come after the cursor `after`. */
  begin: (after: string) => void;
  send: (message: StreamMessage) => void;
  /** How many bytes are queued because the client does not read them. */
  queuedBytes: () => number;
  /** Keeps an idle connection open where the protocol does not do that itself. */
  heartbeat?: () => void;
  /** The client can resume after the cursor `after`. */
  end: (reason: StreamEnd, after: string | undefined) => void;
}

export interface StreamOwner {
  userId: string;
  sessionId: string;
  /** When the access token expires. */
  expiresAt: Date;
}

/** The events of one client: open until it is released, or until its transport is told to end. */
export interface EventStream extends StreamOwner {
  view: StreamView;
  transport: StreamTransport;
  /** Undefined: events of all types. */
  types: ReadonlySet<EventType> | undefined;
  /** The cursor of the latest event that was sent or skipped. Undefined before it follows any. */
  after: string | undefined;
  /** Whether it gets new events. Before that, it reads earlier ones from the table. */
  isLive: boolean;
  isOver: boolean;
}

export interface StreamFilter {
  /** Without it, events from now on. */
  after?: { transactionId: string; position: bigint } | undefined;
  types?: readonly EventType[] | undefined;
}

/** The open streams of this process. One reader of the table serves them all. */
export interface EventStreams {
  /** Throws `too_many_streams` or `streams_unavailable`. */
  open: (owner: StreamOwner & Pick<EventStream, "view" | "transport">) => EventStream;
  /** Sends events from now on. Ends the stream if they cannot be read. */
  follow: (stream: EventStream, filter: StreamFilter) => void;
  release: (stream: EventStream, reason: StreamEnd) => void;
  /** Ends all streams, and refuses new ones. Their clients resume elsewhere. */
  close: () => void;
  counts: () => { open: Record<StreamKind, number>; ended: Record<StreamEnd, number> };
}
