import { describe, expect, test } from "bun:test";
import { setTimeout as sleep } from "node:timers/promises";
import { openSenders } from "../../src/modules/webhooks/senders.ts";
import { until } from "../support/until.ts";
import { failing, ok, onlyDeleted, subjectsOf, webhookWorld } from "../support/webhook-world.ts";

const SECOND = 1_000;
const MINUTE = 60 * SECOND;

describe("an ordered webhook", () => {
  test("gets events one at a time in their order, and a failing one holds back only it", async () => {
    const here = await webhookWorld();
    const [ordered, free] = [here.receiver(), here.receiver()];
    let fails = 3;
    let isBusy = false;
    let overlaps = 0;
    ordered.answer = async () => {
      overlaps += Number(isBusy);
      isBusy = true;
      await sleep(2);
      isBusy = false;
      if (ordered.received.length !== 11 && fails < 3) fails += 1;
      else if (ordered.received.length !== 11) return ok();
      else fails = 1;
      return new Response("no", { status: 500 });
    };
    await here.webhookTo(ordered, { ...onlyDeleted, ordered: true });
    await here.webhookTo(free, onlyDeleted);
    here.start();
    const subjects = await here.recordEvents(100);
    await until(() => free.received.length === 100);
    await until(() => ordered.received.length >= 11);
    await sleep(300);
    expect(ordered.received.length).toBe(11);
    // Each check passes five seconds, more than the event waits after one of its three failures.
    await until(async () => {
      here.pass(5 * SECOND);
      await sleep(200);
      return ordered.received.length === 103;
    });
    const [held] = ordered.ids().slice(10, 11);
    expect(ordered.ids().filter((id) => id === held)).toHaveLength(4);
    const inOrder = subjectsOf(ordered.received).filter((id, at, all) => id !== all[at - 1]);
    expect(inOrder).toEqual(subjects);
    expect(overlaps).toBe(0);
  });

  test("keeps the order of events that were queued later, by a replay", async () => {
    const here = await webhookWorld();
    const there = here.receiver(failing());
    const { path } = await here.webhookTo(there, { ...onlyDeleted, ordered: true });
    const { body: before } = await here.root.get("/events");
    here.start();
    const subjects = await here.recordEvents(1);
    const other = await here.newUser("eve@example.com");
    await here.root.post(`/users/${other.id}/unlock`);
    subjects.push(other.id, ...(await here.recordEvents(1)));
    await until(async () => (await here.deliveriesOf(path)).length === 2);
    await here.root.patch(path, { events: ["user.deleted", "user.unlocked"] });
    await here.root.post(`${path}/replay`, { after: before.at(-1).sequence });
    await until(async () => (await here.deliveriesOf(path)).length === 3);
    there.answer = ok;
    there.received.length = 0;
    here.pass(MINUTE);
    await until(() => there.received.length === 3);
    expect(subjectsOf(there.received)).toEqual(subjects);
  });

  test("keeps the order also if several processes deliver", async () => {
    const here = await webhookWorld();
    const there = here.receiver(async () => {
      await sleep(1);
      return ok();
    });
    await here.webhookTo(there, { ...onlyDeleted, ordered: true });
    for (let count = 0; count < 4; count += 1) here.start();
    const subjects = await here.recordEvents(200);
    await until(() => there.received.length >= 200);
    expect(subjectsOf(there.received)).toEqual(subjects);
  });
});

test("claimed deliveries are sent, also if their leases end before they are renewed", async () => {
  const here = await webhookWorld();
  const there = here.receiver();
  await here.webhookTo(there, { ...onlyDeleted, ordered: true });
  const subjects = await here.recordEvents(200);
  here.start();
  // A lease lasts five seconds, and the job renews it every 20 ms of real time.
  for (let turn = 0; turn < 40; turn += 1) {
    await sleep(23);
    here.pass(4.5 * SECOND);
  }
  // From here on, the clock stands still: a delivery that nobody has would wait for ever.
  await until(() => new Set(subjectsOf(there.received)).size === subjects.length);
  const inOrder = subjectsOf(there.received).filter((id, at, all) => id !== all[at - 1]);
  expect(inOrder).toEqual(subjects);
});

test("no event of an ordered webhook overtakes one whose result could not be stored", async () => {
  const here = await webhookWorld();
  const there = here.receiver();
  const refusal = Promise.withResolvers<void>();
  there.answer = async () => {
    if (there.received.length > 1) return ok();
    await here.sql.unsafe(`
      create function refuse() returns trigger language plpgsql as $$
        begin raise exception 'refused by the test'; end $$;
      create trigger refuse before update on webhook_deliveries
        for each row when (new.attempts > old.attempts) execute function refuse()`);
    refusal.resolve();
    return failing()();
  };
  await here.webhookTo(there, { ...onlyDeleted, ordered: true });
  const subjects = await here.recordEvents(6);
  here.start();
  await refusal.promise;
  await sleep(300);
  await here.sql.unsafe("drop function refuse() cascade");
  await sleep(300);
  expect(there.received.length).toBe(1);
  here.pass(6 * SECOND);
  await until(() => there.received.length === 7);
  expect(subjectsOf(there.received).slice(1)).toEqual(subjects);
});

test("several processes send each event once", async () => {
  const here = await webhookWorld();
  const receivers = [here.receiver(), here.receiver(), here.receiver()];
  for (const there of receivers) await here.webhookTo(there, onlyDeleted);
  for (let count = 0; count < 4; count += 1) here.start();
  const subjects = await here.recordEvents(300);
  await until(() => receivers.every(({ received }) => received.length >= 300));
  await sleep(200);
  for (const { received } of receivers)
    expect(subjectsOf(received).toSorted()).toEqual(subjects.toSorted());
});

test("an attempt that takes long stays with its process, and one of a dead process is taken over", async () => {
  const here = await webhookWorld();
  const waiting: (() => void)[] = [];
  const there = here.receiver(
    () => new Promise((answer) => waiting.push(() => answer(new Response("ok")))),
  );
  const { path } = await here.webhookTo(there, onlyDeleted);
  const first = openSenders(here.ctx);
  await here.recordEvents(1);
  await first.run();
  await until(() => there.received.length === 1);
  const second = openSenders(here.ctx);
  for (let turn = 0; turn < 6; turn += 1) {
    here.pass(2 * SECOND);
    await first.run();
    await second.run();
  }
  await sleep(50);
  expect(there.received.length).toBe(1);
  // The first process is dead: it renews no lease.
  here.pass(5 * SECOND);
  await second.run();
  await until(() => there.received.length === 2);
  for (const answer of waiting) answer();
  await Promise.all([first.close(), second.close()]);
  const [delivery] = await here.deliveriesOf(path);
  expect([delivery?.state, delivery?.attempts]).toEqual(["delivered", 1]);
});
