/** A change of a webhook while requests to it are in flight, and many receivers at once. */
import { expect, test } from "bun:test";
import { setTimeout as sleep } from "node:timers/promises";
import { claimDue, release } from "../../src/modules/webhooks/claims.ts";
import { correctDueTimes } from "../../src/modules/webhooks/deliveries.ts";
import { queueDeliveries } from "../../src/modules/webhooks/dispatch.ts";
import { until } from "../support/until.ts";
import { failing, ok, onlyDeleted, subjectsOf, webhookWorld } from "../support/webhook-world.ts";

const DAY = 86_400_000;
const SLOW_MS = 700;
const slow = async () => {
  await sleep(SLOW_MS);
  return ok();
};

test("a webhook that is disabled gets no other event, also none that a process has claimed", async () => {
  const here = await webhookWorld();
  const receiver = here.receiver(slow);
  const { path } = await here.webhookTo(receiver, { ...onlyDeleted, ordered: true });
  await here.recordEvents(10);
  here.start();
  await until(() => receiver.received.length > 0);
  await here.root.patch(path, { enabled: false });
  await sleep(2 * SLOW_MS);
  const { length } = receiver.received;
  await sleep(3 * SLOW_MS);
  expect(receiver.received.length).toBe(length);
}, 60_000);

test("after a change of the URL, the old one gets no other event, and the new one all", async () => {
  const here = await webhookWorld();
  const before = here.receiver(slow);
  const after = here.receiver();
  const { path } = await here.webhookTo(before, { ...onlyDeleted, ordered: true });
  const subjects = await here.recordEvents(20);
  here.start();
  await until(() => before.received.length > 0);
  await here.root.patch(path, { url: after.url });
  await until(() => subjectsOf(after.received).includes(subjects.at(-1) ?? ""));
  const all = [...subjectsOf(before.received), ...subjectsOf(after.received)];
  expect(all).toEqual(subjects);
  expect(before.received.length).toBeLessThan(5);
}, 60_000);

test("sixteen slow receivers delay no other one", async () => {
  const here = await webhookWorld();
  const hanging = here.receiver(async () => {
    await sleep(4_500);
    return ok();
  });
  for (let made = 0; made < 16; made += 1) await here.webhookTo(hanging, onlyDeleted);
  await here.recordEvents(40);
  here.start();
  await until(() => hanging.received.length >= 100);
  const quick = here.receiver();
  const { path } = await here.webhookTo(quick, onlyDeleted);
  await here.recordEvents(1);
  const startedAt = Date.now();
  await until(() => quick.received.length > 0);
  expect(Date.now() - startedAt).toBeLessThan(2_000);
  await until(async () =>
    (await here.deliveriesOf(path)).every(({ state }) => state === "delivered"),
  );
  expect((await here.deliveriesOf(path)).map(({ attempts }) => attempts)).toEqual([1]);
}, 60_000);

test("a process that lost its leases does not end those of another one", async () => {
  const here = await webhookWorld();
  const { id } = await here.webhookTo(here.receiver(), onlyDeleted);
  await here.recordEvents(2);
  await queueDeliveries(here.ctx);
  const lost = await claimDue(here.ctx, id);
  here.pass(6_000);
  const { claimed } = await claimDue(here.ctx, id);
  expect([lost.claimed.length, claimed.length]).toEqual([2, 2]);
  await release(here.ctx, lost.claimed);
  expect((await claimDue(here.ctx, id)).claimed).toEqual([]);
});

test("many webhooks get few events in each transaction, and few deliveries under load", async () => {
  const here = await webhookWorld();
  const there = here.receiver();
  const created = [];
  for (let count = 0; count < 20; count += 1)
    created.push(await here.webhookTo(there, onlyDeleted));
  // From here on, they have considered the same events.
  await queueDeliveries(here.ctx);
  await here.recordEvents(300);
  expect(await queueDeliveries(here.ctx)).toEqual({ isAnyEnabled: true, hasMore: true });
  const [queued] = await here.sql`select count(*)::int as count from webhook_deliveries`;
  expect(queued?.["count"]).toBe(5_000);
  for (let count = 0; count < 8; count += 1) here.ctx.load.addRequest(1);
  const { claimed } = await claimDue(here.ctx, created[0]?.id);
  for (let count = 0; count < 8; count += 1) here.ctx.load.addRequest(-1);
  expect(claimed.length).toBe(2);
});

test("events that waited while the clock was ahead are sent when it is right again", async () => {
  const here = await webhookWorld();
  const receiver = here.receiver(failing());
  await here.webhookTo(receiver, onlyDeleted);
  here.start();
  here.pass(40 * DAY);
  await here.recordEvents(1);
  await until(async () => {
    const failed = await here.sql`select from webhook_deliveries where attempts > 0`;
    return failed.length > 0;
  });
  receiver.answer = ok;
  here.pass(-40 * DAY);
  await until(async () => {
    await correctDueTimes(here.ctx);
    return receiver.received.length > 1;
  });
}, 60_000);
