import { requireAdministrator } from "../../access.ts";
import type { Ctx, UserActor } from "../../ctx.ts";
import type {
  EventStream,
  EventStreams,
  StreamEnd,
  StreamFilter,
  StreamMessage,
  StreamTransport,
  StreamView,
} from "../../kit/event-streams.ts";
import { Problem } from "../../kit/problem.ts";
import { formatCursor } from "../events/cursor.ts";
import { requireReadable } from "../events/feed.ts";
import { type AccessWatch, watchAccess } from "./access-watch.ts";
import { type CatchUp, catchUp } from "./catch-up.ts";
import { openFanOut } from "./fan-out.ts";
import { openRegistry } from "./registry.ts";

/** Bounds the memory of this process: a slow stream takes up to QUEUED_MAX_BYTES. */
const STREAMS_MAX = 20_000;
const QUEUED_MAX_BYTES = 64 << 10;

/**
 * Opens a stream of all events, or of the actor's own. Throws `forbidden`, `too_many_streams` and
 * `streams_unavailable`.
 */
export function openStream(
  ctx: Ctx,
  actor: UserActor,
  { view, transport }: { view: StreamView; transport: StreamTransport },
): EventStream {
  requireViewOf(actor, view);
  const { user, session, expiresAt = ctx.now() } = actor;
  return ctx.streams.open({ userId: user.id, sessionId: session.id, expiresAt, view, transport });
}

/** Throws `forbidden` unless the actor may see these events. */
export function requireViewOf(actor: UserActor, view: StreamView): void {
  if (view === "all") requireAdministrator(actor);
}

/** `ctxOf` is called when the first stream opens. */
export function openEventStreams(ctxOf: () => Ctx): EventStreams {
  const registry = openRegistry();
  let watch: AccessWatch | undefined;
  let isClosed = false;

  const release = (stream: EventStream, reason: StreamEnd) => {
    if (stream.isOver) return;
    stream.isOver = true;
    registry.remove(stream, reason);
    if (registry.size() > 0) return;
    watch?.stop();
    watch = undefined;
    fanOut.stop();
  };
  const end = (stream: EventStream, reason: StreamEnd) => {
    if (stream.isOver) return;
    release(stream, reason);
    stream.transport.end(reason, stream.after);
  };
  const send = (stream: EventStream, message: StreamMessage) => {
    if (stream.isOver || message.sequence <= (stream.after ?? "")) return;
    stream.after = message.sequence;
    if (stream.types && !stream.types.has(message.type)) return;
    try {
      stream.transport.send(message);
    } catch (error) {
      // The other streams still get the event.
      ctxOf().log.error({ err: error }, "A stream cannot be written to; ending it.");
      release(stream, "failed");
      return;
    }
    if (stream.transport.queuedBytes() > QUEUED_MAX_BYTES) end(stream, "slow_reader");
  };
  const { ofAllEvents, ofUser } = registry;
  const fanOut = openFanOut(ctxOf, { ofAllEvents, ofUser, send });

  return {
    open: (owner) => {
      const ctx = ctxOf();
      if (isClosed || registry.size() >= STREAMS_MAX) throw new Problem("streams_unavailable");
      if (registry.countOf(owner.userId) >= ctx.config.streamsPerUser)
        throw new Problem("too_many_streams");
      const stream = newStream(owner);
      registry.add(stream);
      watch ??= watchAccess(ctx, { streams: registry.all, hasUser: registry.hasUser, end });
      watch.recheck(owner.userId);
      return stream;
    },
    follow: (stream, filter) => {
      begin(ctxOf(), stream, { ...filter, reading: fanOut.reading, send })
        .then((isDone) => isDone || end(stream, "slow_reader"))
        .catch((error) => {
          const isExpired = error instanceof Problem && error.code === "cursor_expired";
          if (!isExpired)
            ctxOf().log.error({ err: error }, "A stream cannot read events; ending it.");
          end(stream, isExpired ? "cursor_expired" : "failed");
        });
    },
    release,
    close: () => {
      isClosed = true;
      for (const stream of [...registry.all()]) end(stream, "restarting");
    },
    counts: registry.counts,
  };
}

const newStream = (owner: Parameters<EventStreams["open"]>[0]): EventStream => ({
  ...owner,
  types: undefined,
  after: undefined,
  isLive: false,
  isOver: false,
});

/** Returns false if the client reads too slowly. */
async function begin(
  ctx: Ctx,
  stream: EventStream,
  { after, types, ...rest }: StreamFilter & CatchUp,
): Promise<boolean> {
  stream.types = types && new Set(types);
  if (after) await requireReadable(ctx, after);
  const from = after ?? (await rest.reading()).position;
  if (stream.isOver) return true;
  stream.after = formatCursor(from);
  stream.transport.begin(stream.after);
  return catchUp(ctx, stream, rest);
}
