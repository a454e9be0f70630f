import { setImmediate as turn } from "node:timers/promises";
import type { Ctx } from "../../ctx.ts";
import type { EventStream, StreamMessage, StreamView } from "../../kit/event-streams.ts";
import type { EventCursor } from "../events/cursor.ts";
import { envelopeOf } from "../events/envelope.ts";
import { asSubjectSees, type Event } from "../events/events.ts";
import { latestCursor, readNextEvents } from "../events/feed.ts";

const READ_AT_ONCE = 100;
const RETRY_MS = 1_000;
/** Requests are handled in between, if an event goes to more streams than this. */
const SENT_AT_ONCE = 500;
const SIGNAL_NAME = "streams";

/** The streams that get new events. */
export interface Followers {
  ofAllEvents: () => Iterable<EventStream>;
  ofUser: (userId: string) => Iterable<EventStream>;
  send: (stream: EventStream, message: StreamMessage) => void;
}

/** Reads each new event once for all streams of this process. */
export interface FanOut {
  /** Starts the reading. */
  reading: () => Promise<Reading>;
  stop: () => void;
}

export interface Reading {
  /** The cursor up to which live streams have got all events. It changes. */
  position: EventCursor;
  isOver: boolean;
  stop: () => void;
}

export function openFanOut(ctxOf: () => Ctx, followers: Followers): FanOut {
  let latest: Promise<Reading> | undefined;
  let stopped: Promise<void> | undefined;
  const start = async (): Promise<Reading> => {
    await stopped;
    const ctx = ctxOf();
    const started: Reading = { position: await latestCursor(ctx), isOver: false, stop: () => {} };
    const read = readerOf(ctx, started, followers);
    const unsubscribe = ctx.eventSignal.subscribe(() => void read());
    started.stop = () => {
      started.isOver = true;
      unsubscribe();
      ctx.eventSignal.setActive(SIGNAL_NAME, false);
    };
    ctx.eventSignal.setActive(SIGNAL_NAME, true);
    // No notification arrives for events that were committed before the subscription.
    void read();
    return started;
  };
  return {
    reading: async () => {
      const current = latest ?? start();
      latest = current;
      try {
        return await current;
      } catch (error) {
        if (latest === current) latest = undefined;
        throw error;
      }
    },
    stop: () => {
      const last = latest;
      latest = undefined;
      if (last) stopped = last.then(({ stop }) => stop()).catch(() => {});
    },
  };
}

/** Returns a function that sends all new events, once at a time. */
function readerOf(ctx: Ctx, reading: Reading, followers: Followers): () => Promise<void> {
  let isRunning = false;
  let isWoken = false;
  let isFailing = false;
  const readPage = async () => {
    const page = await readNextEvents(ctx, reading.position, READ_AT_ONCE);
    // Before they are sent: a stream that begins now gets what comes after them.
    reading.position = page.end;
    for (const event of page.events) {
      if (reading.isOver) return;
      await sendEvent(ctx, event, followers);
    }
    isWoken ||= page.hasMore;
    isFailing = false;
  };
  const read = async (): Promise<void> => {
    isWoken = true;
    if (isRunning) return;
    isRunning = true;
    try {
      while (isWoken && !reading.isOver) {
        isWoken = false;
        await readPage();
      }
    } catch (error) {
      if (!isFailing && !reading.isOver)
        ctx.log.error({ err: error }, "Events for streams cannot be read; retrying.");
      isFailing = true;
      setTimeout(() => void read(), RETRY_MS).unref();
    } finally {
      isRunning = false;
    }
  };
  return read;
}

async function sendEvent(
  ctx: Ctx,
  event: Event,
  { ofAllEvents, ofUser, send }: Followers,
): Promise<void> {
  // Written once for all streams of a kind, if there are any.
  const messages: Partial<Record<StreamView, StreamMessage>> = {};
  const sendTo = (stream: EventStream, view: StreamView) => {
    messages[view] ??= messageOf(ctx, event, view);
    send(stream, messages[view]);
  };
  for (const stream of event.subjectId === null ? [] : ofUser(event.subjectId))
    if (stream.isLive && stream.view === "own") sendTo(stream, "own");
  let sent = 0;
  for (const stream of ofAllEvents()) {
    if (stream.isLive) sendTo(stream, "all");
    sent += 1;
    if (sent % SENT_AT_ONCE === 0) await turn();
  }
}

export function messageOf(ctx: Ctx, event: Event, view: StreamView): StreamMessage {
  const envelope = envelopeOf(ctx.config, view === "own" ? asSubjectSees(event) : event);
  return { sequence: envelope.sequence, type: event.type, json: JSON.stringify(envelope) };
}
