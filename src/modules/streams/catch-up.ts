import { setTimeout as sleep, setImmediate as turn } from "node:timers/promises";
import type { Ctx } from "../../ctx.ts";
import type { EventStream, StreamMessage } from "../../kit/event-streams.ts";
import { formatCursor, parseCursor } from "../events/cursor.ts";
import { readEvents } from "../events/feed.ts";
import { messageOf, type Reading } from "./fan-out.ts";

const READ_AT_ONCE = 100;
/** Half of what a live stream may have queued. */
const QUEUED_MAX_BYTES = 32 << 10;
const WAIT_MAX_MS = 30_000;
const CHECK_AFTER_MS = 20;
const CHECK_EVERY_MAX_MS = 1_000;

export interface CatchUp {
  reading: () => Promise<Reading>;
  send: (stream: EventStream, message: StreamMessage) => void;
}

/**
 * Sends what the table has after the cursor of the stream, as fast as the client reads. Then the
 * stream is live: no event is missing or sent twice. Returns false if the client is too slow.
 */
export async function catchUp(
  ctx: Ctx,
  stream: EventStream,
  { reading, send }: CatchUp,
): Promise<boolean> {
  while (!stream.isOver) {
    const live = await reading();
    const livePosition = formatCursor(live.position);
    if ((stream.after ?? "") >= livePosition) {
      // Nothing runs between reading the position and the first event that is sent live.
      stream.isLive = true;
      return true;
    }
    const page = await readEvents(ctx, pageAfter(stream));
    for (const event of page.events) {
      if (!(await hasRoom(stream))) return false;
      if (!stream.isOver) send(stream, messageOf(ctx, event, stream.view));
    }
    // Without `hasMore`, the page has all events up to the position: it was known before.
    const end = formatCursor(page.end);
    stream.after = page.hasMore || end > livePosition ? end : livePosition;
  }
  return true;
}

const pageAfter = ({ view, userId, types, after = "" }: EventStream) => ({
  after: parseCursor(after),
  limit: READ_AT_ONCE,
  types: types && [...types],
  subjectId: view === "own" ? userId : undefined,
});

async function hasRoom(stream: EventStream): Promise<boolean> {
  const isFull = () => !stream.isOver && stream.transport.queuedBytes() > QUEUED_MAX_BYTES;
  if (!isFull()) return true;
  await turn();
  // Less and less often: a thousand clients that read nothing would take the whole processor.
  for (let waitedMs = 0, ms = CHECK_AFTER_MS; isFull(); waitedMs += ms) {
    if (waitedMs >= WAIT_MAX_MS) return false;
    await sleep(ms);
    ms = Math.min(2 * ms, CHECK_EVERY_MAX_MS);
  }
  return true;
}
