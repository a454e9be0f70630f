import type { Ctx, UserActor } from "../../ctx.ts";
import type {
  EventStream,
  StreamEnd,
  StreamTransport,
  StreamView,
} from "../../kit/event-streams.ts";
import { Problem } from "../../kit/problem.ts";
import type { ProblemCode } from "../../kit/problem-codes.ts";
import { findActor } from "../sessions/principal.ts";
import { type Message, parseMessage } from "./messages.ts";
import { openStream } from "./streams.ts";

const AUTHENTICATE_MAX_MS = 5_000;
const MESSAGES_A_SECOND_MAX = 10;
const SECOND_MS = 1_000;

/** A reason to close a WebSocket: code (RFC 6455, section 7.4) and text. Never repeats input. */
export interface Close {
  code: number;
  text: string;
}

/** docs/events.md shows these. */
export const closes = {
  binary: { code: 1003, text: "Send text messages" },
  failed: { code: 1011, text: "Internal error" },
  restarting: { code: 1012, text: "The server restarts" },
  unavailable: { code: 1013, text: "No more streams can be opened" },
  invalid: { code: 4400, text: "The message is not valid" },
  unknown_type: { code: 4400, text: "An event type is unknown" },
  subscribed: { code: 4400, text: "The connection already has a subscription" },
  authenticated: { code: 4400, text: "The connection is already authenticated" },
  not_authenticated: { code: 4401, text: "Authenticate first, within 5 seconds" },
  invalid_token: { code: 4401, text: "The access token is not valid" },
  token_expired: { code: 4401, text: "The access token has expired" },
  session_ended: { code: 4401, text: "The session has ended" },
  forbidden: { code: 4403, text: "Permission denied" },
  slow_reader: { code: 4408, text: "The client reads too slowly" },
  cursor_expired: { code: 4410, text: "Events after the cursor were deleted" },
  too_many_streams: { code: 4429, text: "The user has too many open streams" },
  too_many_messages: { code: 4429, text: "Too many messages" },
} as const satisfies Record<string, Close>;

const closeOfEnd: Record<Exclude<StreamEnd, "canceled" | "refused">, Close> = closes;

const closeOfProblem: Partial<Record<ProblemCode, Close>> = {
  forbidden: closes.forbidden,
  too_many_streams: closes.too_many_streams,
  streams_unavailable: closes.unavailable,
};

/** The WebSocket of Bun, as far as this protocol uses it. */
export interface SocketPort {
  send: (text: string) => number;
  close: (code: number, reason: string) => void;
  getBufferedAmount: () => number;
}

/** One WebSocket, from its handshake on. */
export interface StreamSocket {
  opened: (port: SocketPort) => void;
  received: (message: unknown) => void;
  closed: () => void;
}

interface Connection {
  ctx: Ctx;
  view: StreamView;
  port: SocketPort | undefined;
  stream: EventStream | undefined;
  isSubscribed: boolean;
  isClosed: boolean;
  /** Ends a connection that does not authenticate. */
  timer: ReturnType<typeof setTimeout> | undefined;
  /** Called once, when it has authenticated or is closed. */
  release: (() => void) | undefined;
  /** Messages that arrived while a token is being checked wait for it. */
  work: Promise<void> | undefined;
  /** Counts the messages of one second. */
  secondAt: number;
  messageCount: number;
}

interface SocketOptions {
  view: StreamView;
  /** Undefined if the client has to authenticate by a message. */
  actor?: UserActor;
  /** Called once, when a client that had to authenticate has done so or is gone. */
  release?: () => void;
}

/**
 * A WebSocket that sends events: the client authenticates in the handshake (`actor`) or by its
 * first message, and subscribes once. Throws `forbidden`, `too_many_streams` and
 * `streams_unavailable`.
 */
export function openStreamSocket(ctx: Ctx, { view, actor, release }: SocketOptions): StreamSocket {
  const connection: Connection = {
    ctx,
    view,
    port: undefined,
    stream: undefined,
    isSubscribed: false,
    isClosed: false,
    timer: undefined,
    release,
    work: undefined,
    secondAt: 0,
    messageCount: 0,
  };
  if (actor) authorize(connection, actor);
  else
    connection.timer = setTimeout(
      () => refuse(connection, closes.not_authenticated),
      AUTHENTICATE_MAX_MS,
    );
  return {
    opened: (port) => {
      connection.port = port;
    },
    received: (message) => receive(connection, message),
    closed: () => {
      connection.isClosed = true;
      stopWaiting(connection);
      if (connection.stream) ctx.streams.release(connection.stream, "canceled");
    },
  };
}

function authorize(connection: Connection, actor: UserActor): void {
  const { ctx, view } = connection;
  connection.stream = openStream(ctx, actor, { view, transport: transportOf(connection) });
  stopWaiting(connection);
}

function stopWaiting(connection: Connection): void {
  clearTimeout(connection.timer);
  connection.release?.();
  connection.release = undefined;
}

const transportOf = (connection: Connection): StreamTransport => ({
  kind: "websocket",
  begin: (after) => connection.port?.send(JSON.stringify({ type: "subscribed", after })),
  send: ({ json }) => connection.port?.send(json),
  queuedBytes: () => connection.port?.getBufferedAmount() ?? 0,
  end: (reason, after) => {
    const { code, text } = closeOfEnd[reason as keyof typeof closeOfEnd];
    close(connection, { code, text: after ? `${text}; resume after ${after}` : text });
  },
});

function close(connection: Connection, { code, text }: Close): void {
  connection.isClosed = true;
  connection.port?.close(code, text);
}

function refuse(connection: Connection, reason: Close): void {
  if (connection.isClosed) return;
  if (connection.stream) connection.ctx.streams.release(connection.stream, "refused");
  close(connection, reason);
}

function receive(connection: Connection, data: unknown): void {
  if (connection.isClosed) return;
  const message = isFlood(connection) ? "too_many_messages" : readMessage(data);
  if (typeof message === "string") {
    refuse(connection, closes[message]);
    return;
  }
  const { work } = connection;
  const begin = () => handle(connection, message);
  const handled = work === undefined ? begin() : work.then(begin);
  const next = handled?.catch((error) => fail(connection, error));
  connection.work = next;
  void next?.then(() => {
    if (connection.work === next) connection.work = undefined;
  });
}

const readMessage = (data: unknown) => (typeof data === "string" ? parseMessage(data) : "binary");

function isFlood(connection: Connection): boolean {
  const now = performance.now();
  if (now - connection.secondAt > SECOND_MS) {
    connection.secondAt = now;
    connection.messageCount = 0;
  }
  connection.messageCount += 1;
  return connection.messageCount > MESSAGES_A_SECOND_MAX;
}

/** Returns a promise only if the next message has to wait. */
function handle(connection: Connection, message: Message): Promise<void> | undefined {
  if (connection.isClosed) return undefined;
  if (message.type === "authenticate") return authenticate(connection, message.token);
  const { ctx, stream, isSubscribed } = connection;
  if (!stream) refuse(connection, closes.not_authenticated);
  else if (isSubscribed) refuse(connection, closes.subscribed);
  else {
    connection.isSubscribed = true;
    ctx.streams.follow(stream, message);
  }
  return undefined;
}

async function authenticate(connection: Connection, token: string): Promise<void> {
  if (connection.stream) return refuse(connection, closes.authenticated);
  const actor = await findActor(connection.ctx, token);
  if (connection.isClosed) return;
  if (actor) authorize(connection, actor);
  else refuse(connection, closes.invalid_token);
}

function fail(connection: Connection, error: unknown): void {
  const known = error instanceof Problem ? closeOfProblem[error.code] : undefined;
  if (!known)
    connection.ctx.log.error({ err: error }, "A WebSocket cannot be authenticated; closing it.");
  refuse(connection, known ?? closes.failed);
}
