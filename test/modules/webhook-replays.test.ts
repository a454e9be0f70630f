import { describe, expect, test } from "bun:test";
import { setTimeout as sleep } from "node:timers/promises";
import { eq } from "drizzle-orm";
import { formatCursor, parseCursor } from "../../src/modules/events/cursor.ts";
import { purgeEvents } from "../../src/modules/events/retention.ts";
import { purgeDeliveries } from "../../src/modules/webhooks/deliveries.ts";
import { webhooks } from "../../src/modules/webhooks/tables.ts";
import { until } from "../support/until.ts";
import { failing, ok, onlyDeleted, subjectsOf, webhookWorld } from "../support/webhook-world.ts";

const SECOND = 1_000;
const HOUR = 3_600 * SECOND;
const DAY = 24 * HOUR;

describe("events are sent again", () => {
  test("one delivery by redeliver, with the same id, and only of its own webhook", async () => {
    const here = await webhookWorld();
    const there = here.receiver();
    const { path } = await here.webhookTo(there, onlyDeleted);
    const other = await here.webhookTo(here.receiver(), { events: ["key.retired"] });
    here.start();
    await here.recordEvents(2);
    await until(() => there.received.length === 2);
    await until(async () =>
      (await here.deliveriesOf(path)).every(({ state }) => state === "delivered"),
    );
    const [delivery] = await here.deliveriesOf(path);
    const wrong = `${other.path}/deliveries/${delivery?.id}/redeliver`;
    expect((await here.root.post(wrong)).status).toBe(404);
    const again = await here.root.post(`${path}/deliveries/${delivery?.id}/redeliver`);
    expect([again.status, again.body.state, again.body.attempts]).toEqual([202, "waiting", 0]);
    await until(() => there.received.length === 3);
    expect(there.ids().filter((id) => id === delivery?.event_id)).toHaveLength(2);
  });

  test("by replay from a cursor or a time, with the same ids", async () => {
    const here = await webhookWorld();
    const there = here.receiver();
    const { path } = await here.webhookTo(there, { ...onlyDeleted, ordered: true });
    here.start();
    const subjects = await here.recordEvents(3);
    await until(() => there.received.length === 3);
    const [first] = there.received;
    const replayed = await here.root.post(`${path}/replay`, { after: first?.body.sequence });
    expect([replayed.status, replayed.body.after]).toEqual([202, first?.body.sequence]);
    await until(() => there.received.length === 5);
    expect(subjectsOf(there.received)).toEqual([...subjects, ...subjects.slice(1)]);
    expect(there.ids()[3]).toBe(there.ids()[1] ?? "");
    here.pass(HOUR);
    const since = new Date().toISOString();
    subjects.push(...(await here.recordEvents(1)));
    await until(() => there.received.length === 6);
    expect((await here.root.post(`${path}/replay`, { since })).status).toBe(202);
    await until(() => there.received.length === 7);
    expect(subjectsOf(there.received).at(-1)).toBe(subjects.at(-1) ?? "");
    await sleep(100);
    expect(there.received.length).toBe(7);
  });

  test("from the earlier one of two cursors, if both are asked for at once", async () => {
    const here = await webhookWorld();
    const { id, path } = await here.webhookTo(here.receiver(), onlyDeleted);
    await here.recordEvents(3);
    const { body } = await here.root.get("/events?type=user.deleted");
    const cursors: string[] = body.map(({ sequence }: { sequence: string }) => sequence);
    const [early = "", late = "", last = ""] = cursors;
    for (let round = 0; round < 20; round += 1) {
      await here.ctx.db
        .update(webhooks)
        .set(parseCursor(last) ?? {})
        .where(eq(webhooks.id, id));
      await Promise.all([early, late].map((after) => here.root.post(`${path}/replay`, { after })));
      const [webhook] = await here.ctx.db.select().from(webhooks);
      if (!webhook) throw new Error("no webhook");
      expect(formatCursor(webhook)).toBe(early);
    }
  });

  test("but no replay skips events, or begins where nothing is stored", async () => {
    const here = await webhookWorld({ eventsRetentionDays: 1 });
    const { path, enabled } = await here.webhookTo(here.receiver(), { enabled: false });
    expect(enabled).toBe(false);
    await here.recordEvents(2);
    const { body: all } = await here.root.get("/events");
    const codeOf = async (body: object) => {
      const answer = await here.root.post(`${path}/replay`, body);
      const { code, errors } = answer.body;
      return [answer.status, code, errors?.map((one: { pointer: string }) => one.pointer)];
    };
    const refused = (pointer: string) => [422, "invalid_request", [pointer]];
    expect(await codeOf({ after: all.at(-1).sequence })).toEqual(refused("/after"));
    expect(await codeOf({ since: "2999-01-01T00:00:00Z" })).toEqual(refused("/since"));
    expect(await codeOf({})).toEqual(refused("/after"));
    expect(await codeOf({ since: "yesterday" })).toEqual(refused("/since"));
    expect(await codeOf({ after: "z".repeat(32) })).toEqual(refused("/after"));
    const both = { after: all[0].sequence, since: "2026-01-01T00:00:00Z" };
    expect(await codeOf(both)).toEqual(refused("/since"));
    expect(await codeOf({ after: all[0].sequence })).toEqual([202, undefined, undefined]);
    await here.sql`insert into event_cursors (name, transaction_id, position)
      select 'purged', transaction_id, position from events order by transaction_id desc limit 1`;
    expect(await codeOf({ after: all[0].sequence })).toEqual([410, "cursor_expired", undefined]);
  });
});

test("an event is kept for a webhook that has not got it, also if Bunker disabled that", async () => {
  const here = await webhookWorld({ eventsRetentionDays: 30 });
  const there = here.receiver(failing());
  const { path } = await here.webhookTo(there, onlyDeleted);
  const stop = here.start();
  const queued = await here.recordEvents(1);
  await until(async () => (await here.deliveriesOf(path)).length === 1);
  await stop();
  const unread = await here.recordEvents(1);
  const kept = async () => {
    while ((await purgeEvents(here.ctx)) > 0);
    const rows = await here.sql`select subject_id from events where type = 'user.deleted'`;
    return rows.map(({ subject_id: id }) => String(id)).toSorted();
  };
  here.pass(31 * DAY);
  expect(await kept()).toEqual([...queued, ...unread].toSorted());
  await here.sql`update webhooks set is_enabled = false, disabled_reason = 'gone'`;
  expect(await kept()).toHaveLength(2);
  await here.sql`update webhook_deliveries set state = 'delivered'`;
  expect(await kept()).toEqual(unread);
  await here.sql`update webhooks set disabled_reason = null`;
  expect(await kept()).toEqual([]);
});

test("deliveries are listed in pages and by state, kept for a month, and deleted with their webhook", async () => {
  const here = await webhookWorld();
  const there = here.receiver();
  const { path } = await here.webhookTo(there, onlyDeleted);
  here.start();
  await here.recordEvents(5);
  await until(
    async () =>
      (await here.deliveriesOf(path)).filter(({ state }) => state === "delivered").length === 5,
  );
  there.answer = failing();
  await here.recordEvents(1);
  await until(
    async () =>
      (await here.deliveriesOf(path)).filter(({ attempts }) => attempts === 1).length === 6,
  );
  // A retry that failed after the month would end the delivery.
  there.answer = () => new Promise(() => {});
  const states = async (query: string) =>
    ((await here.root.get(`${path}/deliveries?${query}`)).body as { state: string }[]).map(
      ({ state }) => state,
    );
  expect(await states("state=waiting")).toEqual(["waiting"]);
  expect(await states("state=failed")).toEqual([]);
  const first = await here.root.get(`${path}/deliveries?state=delivered&limit=3&total=true`);
  expect([first.body.length, first.headers.get("x-total-count")]).toEqual([3, "5"]);
  const [, next = ""] =
    /^<\/api\/v1([^>]+)>; rel="next"$/.exec(first.headers.get("link") ?? "") ?? [];
  const second = await here.root.get(next);
  expect(second.body.map(({ state }: { state: string }) => state)).toEqual([
    "delivered",
    "delivered",
  ]);
  expect((await here.root.get(`${path}/deliveries?state=lost`)).status).toBe(422);
  here.pass(31 * DAY);
  expect(await purgeDeliveries(here.ctx)).toBe(5);
  expect(await states("")).toEqual(["waiting"]);
  const other = await here.webhookTo(here.receiver(), onlyDeleted);
  await here.recordEvents(1);
  await until(async () => (await here.deliveriesOf(other.path)).length === 1);
  await here.root.delete(path);
  expect(await purgeDeliveries(here.ctx)).toBe(2);
  expect(await here.sql`select webhook_id from webhook_deliveries`).toEqual([
    { webhook_id: other.id },
  ] as never);
});

test("an event that is no longer stored is dropped, and the next ones are sent", async () => {
  const here = await webhookWorld();
  const there = here.receiver(failing());
  const { path } = await here.webhookTo(there, { ...onlyDeleted, ordered: true });
  here.start();
  const [gone] = await here.recordEvents(2);
  await until(async () => (await here.deliveriesOf(path)).some(({ attempts }) => attempts > 0));
  await here.sql`delete from events where subject_id = ${gone ?? ""}`;
  there.answer = ok;
  here.pass(10 * SECOND);
  await until(async () =>
    (await here.deliveriesOf(path)).every(({ state }) => state !== "waiting"),
  );
  expect((await here.deliveriesOf(path)).map(({ state }) => state)).toEqual([
    "delivered",
    "dropped",
  ]);
});
