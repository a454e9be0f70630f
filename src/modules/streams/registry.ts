import {
  type EventStream,
  type StreamEnd,
  type StreamKind,
  streamEnds,
} from "../../kit/event-streams.ts";

/**
 * Streams stay for hours among the garbage of their requests, which then takes memory for as long.
 * Collecting it in between costs 60 µs a stream, and 5,000 SSE streams take 36 MB instead of 55.
 */
const COLLECT_EVERY = 250;

/** The open streams, and counts of those that have ended. */
export function openRegistry() {
  const all = new Set<EventStream>();
  const ofAllEvents = new Set<EventStream>();
  const byUser = new Map<string, Set<EventStream>>();
  const none: ReadonlySet<EventStream> = new Set();
  let added = 0;
  const open: Record<StreamKind, number> = { sse: 0, websocket: 0 };
  const ended = Object.fromEntries(streamEnds.map((reason) => [reason, 0])) as Ended;
  return {
    all: (): Iterable<EventStream> => all,
    ofAllEvents: (): Iterable<EventStream> => ofAllEvents,
    ofUser: (userId: string): Iterable<EventStream> => byUser.get(userId) ?? none,
    hasUser: (userId: string) => byUser.has(userId),
    countOf: (userId: string) => byUser.get(userId)?.size ?? 0,
    size: () => all.size,
    counts: () => ({ open: { ...open }, ended: { ...ended } }),
    add: (stream: EventStream) => {
      added += 1;
      if (added % COLLECT_EVERY === 0) Bun.gc(false);
      all.add(stream);
      if (stream.view === "all") ofAllEvents.add(stream);
      open[stream.transport.kind] += 1;
      const own = byUser.get(stream.userId);
      if (own) own.add(stream);
      else byUser.set(stream.userId, new Set([stream]));
    },
    remove: (stream: EventStream, reason: StreamEnd) => {
      all.delete(stream);
      ofAllEvents.delete(stream);
      open[stream.transport.kind] -= 1;
      ended[reason] += 1;
      const own = byUser.get(stream.userId);
      own?.delete(stream);
      if (own?.size === 0) byUser.delete(stream.userId);
    },
  };
}

type Ended = Record<StreamEnd, number>;
