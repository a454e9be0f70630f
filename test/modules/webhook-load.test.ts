import { afterEach, expect, test } from "bun:test";
import { setTimeout as sleep } from "node:timers/promises";
import { until } from "../support/until.ts";
import { ok, onlyDeleted, subjectsOf, webhookWorld } from "../support/webhook-world.ts";

let endLoad = () => {};
afterEach(() => endLoad());

/** Adds 1,000 requests in flight, until `endLoad` is called or the test ends. */
function putUnderLoad({ ctx }: Awaited<ReturnType<typeof webhookWorld>>): void {
  const add = (change: 1 | -1) => {
    for (let count = 0; count < 1_000; count += 1) ctx.load.addRequest(change);
  };
  add(1);
  endLoad = () => {
    endLoad = () => {};
    add(-1);
  };
}

test("under load, all webhooks share 32 deliveries a second, and the rest comes later", async () => {
  const here = await webhookWorld();
  const receivers = [here.receiver(), here.receiver()];
  for (const receiver of receivers) await here.webhookTo(receiver, onlyDeleted);
  const subjects = await here.recordEvents(200);
  const counts = () => receivers.map(({ received }) => received.length);
  putUnderLoad(here);
  here.start();
  const from = performance.now();
  await until(() => counts().every((count) => count >= 24));
  const [most = 0] = counts().toSorted((a, b) => b - a);
  expect(most).toBeLessThan(40);
  expect(performance.now() - from).toBeGreaterThan(800);
  endLoad();
  await until(() => counts().every((count) => count >= subjects.length), 4_000);
  for (const { received } of receivers)
    expect(subjectsOf(received).toSorted()).toEqual(subjects.toSorted());
});

test("under load, an ordered webhook gets as many events as one that gets them in parallel", async () => {
  const here = await webhookWorld();
  const [ordered, parallel] = [here.receiver(), here.receiver()];
  await here.webhookTo(ordered, { ...onlyDeleted, ordered: true });
  await here.webhookTo(parallel, onlyDeleted);
  const subjects = await here.recordEvents(200);
  putUnderLoad(here);
  here.start();
  await until(() => ordered.received.length >= 10);
  const [before, beforeInParallel] = [ordered.received.length, parallel.received.length];
  await until(() => ordered.received.length >= before + 20);
  expect(parallel.received.length - beforeInParallel).toBeLessThan(30);
  endLoad();
  await until(() => ordered.received.length === subjects.length);
  expect(subjectsOf(ordered.received)).toEqual(subjects);
});

test("under load, webhooks with few events do not slow one with many", async () => {
  const here = await webhookWorld();
  const busy = here.receiver();
  const quiet = Array.from({ length: 6 }, () => here.receiver());
  await here.webhookTo(busy, onlyDeleted);
  for (const receiver of quiet) await here.webhookTo(receiver, { events: ["user.unlocked"] });
  const user = await here.newUser();
  await here.recordEvents(200);
  putUnderLoad(here);
  here.start();
  for (let second = 0; second < 2; second += 1) {
    await here.root.post(`/users/${user.id}/unlock`);
    await sleep(1_000);
  }
  expect(quiet.map(({ received }) => received.length >= 1)).not.toContain(false);
  expect(busy.received.length).toBeGreaterThan(35);
  expect(busy.received.length).toBeLessThan(80);
});

test("under load, a webhook that becomes ordered gets one event at a time from then on", async () => {
  const here = await webhookWorld();
  const there = here.receiver();
  let inFlight = 0;
  let most = 0;
  there.answer = async () => {
    inFlight += 1;
    most = Math.max(most, inFlight);
    await sleep(20);
    inFlight -= 1;
    return ok();
  };
  const { path } = await here.webhookTo(there, onlyDeleted);
  await here.recordEvents(100);
  putUnderLoad(here);
  here.start();
  await until(() => there.received.length >= 20);
  await here.root.patch(path, { ordered: true });
  expect(most).toBeGreaterThan(1);
  await until(() => inFlight === 0);
  most = 0;
  await until(() => there.received.length === 100);
  endLoad();
  expect(most).toBe(1);
});

test("requests of a receiver that calls the API before it answers do not slow its deliveries", async () => {
  const here = await webhookWorld();
  const there = here.receiver();
  let most = 0;
  let calling = 0;
  let wasHigh = false;
  await until(() => !here.ctx.load.isHigh());
  there.answer = async () => {
    calling += 1;
    here.ctx.load.addRequest(1);
    await sleep(5);
    most = Math.max(most, calling);
    wasHigh ||= here.ctx.load.isHigh();
    calling -= 1;
    here.ctx.load.addRequest(-1);
    return ok();
  };
  await here.webhookTo(there, onlyDeleted);
  await here.recordEvents(100);
  here.start();
  await until(() => there.received.length === 100);
  expect(most).toBeGreaterThan(8);
  expect(wasHigh).toBe(false);
});
