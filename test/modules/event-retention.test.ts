import { expect, test } from "bun:test";
import { sql } from "drizzle-orm";
import { formatCursor } from "../../src/modules/events/cursor.ts";
import { record } from "../../src/modules/events/events.ts";
import { readEvents } from "../../src/modules/events/feed.ts";
import { keepEventOrder } from "../../src/modules/events/order.ts";
import { purgeEvents } from "../../src/modules/events/retention.ts";
import { eventCursors } from "../../src/modules/events/tables.ts";
import { reportUnsettledEvents, unsettledSeconds } from "../../src/modules/events/unsettled.ts";
import { world } from "../support/world.ts";

const operator = { kind: "operator" } as const;
const DAY = 86_400_000;
type World = Awaited<ReturnType<typeof world>>;
const recordOne = async ({ ctx }: Pick<World, "ctx">) => {
  const subjectId = crypto.randomUUID();
  await record(ctx, operator, { type: "user.deleted", subjectId, data: {} });
  return subjectId;
};
const cursors = async ({ ctx }: Pick<World, "ctx">) =>
  (await readEvents(ctx, { limit: 100 })).events.map(({ cursor }) => cursor);

test("a cursor before deleted events has expired, and the response says what to do", async () => {
  const here = await world({ eventsRetentionDays: 30 });
  for (let turn = 0; turn < 3; turn += 1) await recordOne(here);
  const [first, second, third] = (await cursors(here)).map(formatCursor);
  here.pass(31 * DAY);
  expect(await purgeEvents(here.ctx)).toBe(3);
  const root = await here.superuser();
  const read = (after?: string) => root.get(`/events?after=${after}`);
  for (const cursor of [first, second, "0".repeat(32)]) {
    const { status, body } = await read(cursor);
    expect([status, body.code]).toEqual([410, "cursor_expired"]);
  }
  expect((await read(third)).body).toHaveLength(3);
  expect((await root.get("/events")).body).toHaveLength(3);
  expect((await root.get(`/users/me/events?after=${first}`)).body.code).toBe("cursor_expired");
});

test("a reader learns of events that are deleted while it reads", async () => {
  const here = await world({ eventsRetentionDays: 30 });
  for (let turn = 0; turn < 3; turn += 1) await recordOne(here);
  const [after] = await cursors(here);
  let reading: Promise<unknown> | undefined;
  here.pass(31 * DAY);
  await here.ctx.db.transaction(async (db) => {
    await db.execute(sql`lock table events in access exclusive mode`);
    reading = readEvents(here.ctx, { after, limit: 10 });
    reading.catch(() => {});
    await Bun.sleep(200);
    expect(await purgeEvents({ ...here.ctx, db })).toBe(3);
  });
  expect(await reading?.catch(({ code }) => code)).toBe("cursor_expired");
});

test("an event is kept for a consumer that has not got it, for 30 days more", async () => {
  const here = await world({ eventsRetentionDays: 30 });
  for (let turn = 0; turn < 3; turn += 1) await recordOne(here);
  const [first] = await cursors(here);
  if (!first) throw new Error("no event");
  await here.ctx.db.insert(eventCursors).values({ name: "broker", ...first });
  here.pass(31 * DAY);
  expect(await purgeEvents(here.ctx)).toBe(1);
  expect(await purgeEvents(here.ctx)).toBe(0);
  here.pass(30 * DAY);
  expect(await purgeEvents(here.ctx)).toBe(2);
});

test("after a restore on another server, new events follow the restored ones, and those it lost", async () => {
  const here = await world();
  const { ctx, sql } = here;
  try {
    const restored = [await recordOne(here), await recordOne(here)];
    await sql`update events set transaction_id = (transaction_id::text::bigint + 1000000)::text::xid8`;
    expect((await readEvents(ctx, { limit: 10 })).events).toEqual([]);
    await keepEventOrder(ctx);
    await keepEventOrder(ctx);
    const last = (await cursors(here)).at(-1);
    const added = [await recordOne(here), await recordOne(here)];
    const subjects = async (after?: typeof last) =>
      (await readEvents(ctx, { after, limit: 10 })).events.map(({ subjectId }) => subjectId);
    expect(await subjects()).toEqual([...restored, ...added]);
    expect(await subjects(last)).toEqual(added);
    const lost = { transactionId: String(Number(last?.transactionId) + 1_000_000), position: 9n };
    expect(await subjects(lost)).toEqual(added);
    expect(here.logged.filter(({ sentence }) => sentence.startsWith("Events were"))).toHaveLength(
      1,
    );
  } finally {
    await sql`create or replace function event_transaction_offset() returns bigint
      language sql immutable as 'select 0::bigint'`;
  }
});

test("after a restore on another server, new events are read though all restored ones were deleted", async () => {
  const here = await world({ eventsRetentionDays: 1 });
  const { ctx, sql } = here;
  try {
    await recordOne(here);
    await sql`update events set transaction_id = (transaction_id::text::bigint + 1000000)::text::xid8`;
    const [last] = await sql`select transaction_id::text as "transactionId", position from events`;
    here.pass(2 * DAY);
    expect(await purgeEvents(ctx)).toBe(1);
    await keepEventOrder(ctx);
    const added = await recordOne(here);
    const after = { transactionId: last?.["transactionId"], position: BigInt(last?.["position"]) };
    const { events } = await readEvents(ctx, { after, limit: 10 });
    expect(events.map(({ subjectId }) => subjectId)).toEqual([added]);
  } finally {
    await sql`create or replace function event_transaction_offset() returns bigint
      language sql immutable as 'select 0::bigint'`;
  }
});

test("events that wait for an open transaction are measured, and after 30 s it is named", async () => {
  const here = await world();
  const { ctx, sql, logged } = here;
  const remembered = new Set<string>();
  const warnings = () => logged.filter(({ sentence }) => sentence.startsWith("Events wait"));
  await sql.begin(async (held) => {
    const [blocker] = await held`select pg_backend_pid() as pid, pg_current_xact_id() as id`;
    await recordOne(here);
    await reportUnsettledEvents(ctx, remembered);
    expect(warnings()).toEqual([]);
    await sql`update events set occurred_at = now() - interval '40 seconds'`;
    expect(await unsettledSeconds(ctx)).toBeGreaterThan(39);
    await reportUnsettledEvents(ctx, remembered);
    await reportUnsettledEvents(ctx, remembered);
    expect(warnings().map(({ fields }) => fields)).toMatchObject([{ pid: blocker?.["pid"] }]);
  });
  expect(await unsettledSeconds(ctx)).toBe(0);
  await reportUnsettledEvents(ctx, remembered);
  expect(logged.at(-1)?.sentence).toBe("Events can be read again.");
});
