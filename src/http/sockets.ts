import type { WebSocketHandler } from "bun";
import { fieldProblem, Problem } from "../kit/problem.ts";
import type { SocketPort, StreamSocket } from "../modules/streams/protocol.ts";
import { contextOf, type RequestParts } from "./request-context.ts";

/** A browser offers this, and its access token with the prefix. Only the first one is answered. */
const SUBPROTOCOL = "bunker.v1";
export const TOKEN_PREFIX = "bearer.";

const MESSAGE_MAX_BYTES = 64 << 10;
/** Bun sends pings earlier. A client that answers none is gone. */
const SILENCE_MAX_SECONDS = 30;

/** For Bun.serve. Each WebSocket has a `StreamSocket` as its data. */
export const webSocketHandler: WebSocketHandler<unknown> = {
  open: (socket) => streamSocketOf(socket).opened(socket as unknown as SocketPort),
  message: (socket, message) => streamSocketOf(socket).received(message),
  close: (socket) => streamSocketOf(socket).closed(),
  maxPayloadLength: MESSAGE_MAX_BYTES,
  idleTimeout: SILENCE_MAX_SECONDS,
  sendPings: true,
  perMessageDeflate: false,
};

const streamSocketOf = ({ data }: { data: unknown }) => data as StreamSocket;

/** The subprotocols that a client offers. */
export const protocolsIn = (headers: RequestParts["headers"]): string[] =>
  (headers["sec-websocket-protocol"] ?? "")
    .split(",")
    .map((protocol) => protocol.trim())
    .filter((protocol) => protocol !== "");

/** Throws if a request does not begin a WebSocket that this server understands. */
export function requireHandshake({ headers }: Pick<RequestParts, "headers">): void {
  if (headers["upgrade"]?.toLowerCase() !== "websocket") throw new Problem("upgrade_required");
  const protocols = protocolsIn(headers);
  if (protocols.length === 0 || protocols.includes(SUBPROTOCOL)) return;
  const detail = `must offer ${SUBPROTOCOL}`;
  throw new Problem("invalid_request", {
    errors: [fieldProblem("/header/Sec-WebSocket-Protocol", "not_allowed", detail)],
  });
}

/** Completes the handshake. Without an answer of ours, Bun would accept any subprotocol. */
export function upgrade(
  { request, headers, server }: Pick<RequestParts, "request" | "headers" | "server">,
  socket: StreamSocket,
): Response {
  const answer = {
    "x-request-id": contextOf(request).id,
    ...(protocolsIn(headers).length > 0 ? { "sec-websocket-protocol": SUBPROTOCOL } : {}),
  };
  const isUpgraded = server?.upgrade(request, { data: socket, headers: answer });
  if (!isUpgraded) {
    socket.closed();
    throw new Problem("upgrade_required");
  }
  // For the access log and metrics: the client has got the real one already.
  return new Response(null, { status: 101 });
}
