import type {
  EventStream,
  EventStreams,
  StreamFilter,
  StreamMessage,
  StreamTransport,
} from "../kit/event-streams.ts";
import { contextOf, type RequestParts } from "./request-context.ts";

/** When a browser connects again. */
const RETRY_MS = 2_000;
/** How long a client may take to read the rest of a stream that has ended. */
const END_MAX_SECONDS = 10;
/** Bun begins to read a response at once, unless its client is gone. */
const BEGIN_MAX_MS = 5_000;

const headers = {
  "content-type": "text/event-stream",
  // nginx would otherwise hold events back.
  "x-accel-buffering": "no",
  // Bun keeps the idle timeout of the stream, END_MAX_SECONDS: if it closed the connection while a
  // proxy sends the next request, that would be lost.
  connection: "close",
};

interface Follow {
  open: (transport: StreamTransport) => EventStream;
  streams: EventStreams;
  filter: StreamFilter;
}

/**
 * A response of server-sent events (HTML standard, section 9.2). Follows the events when Bun reads
 * the response: it reads none whose client is gone or has got 503 in the meantime.
 */
export function eventStreamResponse(
  { request, server }: Pick<RequestParts, "request" | "server">,
  { open, streams, filter }: Follow,
): Response {
  // Nobody would read the stream.
  if (request.method === "HEAD") return new Response(null, { headers });
  const openedAt = performance.now();
  let isFollowing = false;
  let controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  const write = (bytes: Uint8Array) => controller?.enqueue(bytes);
  const body = new ReadableStream<Uint8Array>(
    {
      start: (own) => {
        controller = own;
      },
      pull: () => {
        if (!isFollowing) streams.follow(stream, filter);
        isFollowing = true;
      },
      cancel: () => streams.release(stream, "canceled"),
    },
    { highWaterMark: 0, size: (bytes) => bytes?.length ?? 0 },
  );
  const stream = open({
    kind: "sse",
    // A browser that has got no event yet resumes after this cursor as well.
    begin: (after) => write(encode(`retry: ${RETRY_MS}\nid: ${after}\n\n`)),
    send: (message) => write(bytesOf(message)),
    queuedBytes: () => -(controller?.desiredSize ?? 0),
    heartbeat: () => {
      if (isFollowing) write(HEARTBEAT);
      else if (performance.now() - openedAt > BEGIN_MAX_MS) streams.release(stream, "canceled");
    },
    end: (reason) => {
      write(encode(`: ${reason}\n\n`));
      controller?.close();
      server?.timeout(request, END_MAX_SECONDS);
    },
  });
  // The request lives as long as the response.
  delete contextOf(request).actor;
  // Otherwise Bun closes the connection after IDLE_SECONDS, although events are sent.
  server?.timeout(request, 0);
  return new Response(body, { headers });
}

const encoder = new TextEncoder();
const encode = (text: string): Uint8Array => encoder.encode(text);
const HEARTBEAT = encode(":\n\n");

function bytesOf(message: StreamMessage): Uint8Array {
  const { sequence, type, json } = message;
  message.sse ??= encode(`id: ${sequence}\nevent: ${type}\ndata: ${json}\n\n`);
  return message.sse;
}
