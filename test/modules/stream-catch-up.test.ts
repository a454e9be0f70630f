/** How streams read earlier events, until they are live. */
import { expect, test } from "bun:test";
import type { Ctx } from "../../src/ctx.ts";
import { transaction } from "../../src/db/transaction.ts";
import type { EventStream, StreamMessage } from "../../src/kit/event-streams.ts";
import { formatCursor, START } from "../../src/modules/events/cursor.ts";
import { record } from "../../src/modules/events/events.ts";
import { latestCursor } from "../../src/modules/events/feed.ts";
import { catchUp } from "../../src/modules/streams/catch-up.ts";
import { openFanOut } from "../../src/modules/streams/fan-out.ts";
import { until } from "../support/until.ts";
import { world } from "../support/world.ts";

/** A stream of all events after a cursor, without a client. */
function streamAfter(after: string, queuedBytes: () => number): EventStream {
  const nothing = () => {};
  return {
    userId: Bun.randomUUIDv7(),
    sessionId: Bun.randomUUIDv7(),
    expiresAt: new Date(),
    view: "all",
    transport: { kind: "sse", begin: nothing, send: nothing, queuedBytes, end: nothing },
    types: undefined,
    after,
    isLive: false,
    isOver: false,
  };
}

const recordEvent = (ctx: Ctx) =>
  transaction(ctx, (tx) =>
    record(tx, { kind: "operator" }, { type: "key.rotated", subjectId: null, data: { kid: "k" } }),
  );

test("a stream misses no event, even if it becomes live while that event is being sent", async () => {
  const { ctx, sql } = await world();
  await recordEvent(ctx);
  const stream = streamAfter(formatCursor(await latestCursor(ctx)), () => 0);
  const sent: string[] = [];
  const send = (_: EventStream, { sequence }: StreamMessage) => {
    stream.after = sequence;
    sent.push(sequence);
  };
  let work: Promise<boolean> | undefined;
  let wake = () => {};
  const eventSignal = {
    setActive: () => {},
    subscribe: (onWake: () => void) => {
      wake = onWake;
      return () => {};
    },
    // The reader calls this just before it goes on to the events that it has read.
    retrySoon: () => {
      work ??= catchUp(ctx, stream, { reading: fanOut.reading, send });
    },
  };
  const followers = { ofAllEvents: () => [stream], ofUser: () => [], send };
  const fanOut = openFanOut(() => ({ ...ctx, eventSignal }), followers);
  expect(formatCursor((await fanOut.reading()).position)).toBe(stream.after ?? "");
  await sql.begin(async (open) => {
    await recordEvent(ctx);
    // Holds the second event back.
    await open`select pg_current_xact_id()`;
    await recordEvent(ctx);
    wake();
    await until(() => work !== undefined);
    await work;
  });
  wake();
  await until(() => sent.length === 2, 2_000);
  expect(sent).toEqual([...new Set(sent)].toSorted());
  fanOut.stop();
});

test("a client that reads nothing is looked at about once a second", async () => {
  const { ctx } = await world();
  await recordEvent(ctx);
  let count = 0;
  const stream = streamAfter(formatCursor(START), () => {
    count += 1;
    return 1 << 20;
  });
  const followers = { ofAllEvents: () => [], ofUser: () => [], send: () => {} };
  const { reading, stop } = openFanOut(() => ctx, followers);
  const work = catchUp(ctx, stream, { reading, send: () => {} });
  await Bun.sleep(3_000);
  expect(count).toBeGreaterThan(3);
  expect(count).toBeLessThan(20);
  stream.isOver = true;
  await work;
  stop();
});
