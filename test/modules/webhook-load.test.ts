import { expect, test } from "bun:test";
import { setTimeout as sleep } from "node:timers/promises";
import { until } from "../support/until.ts";
import { ok, onlyDeleted, subjectsOf, webhookWorld } from "../support/webhook-world.ts";

/** Returns a function that ends it. */
function underLoad({ ctx }: Awaited<ReturnType<typeof webhookWorld>>): () => void {
  const requests = Array.from({ length: 1_000 });
  for (const _ of requests) ctx.load.addRequest(1);
  return () => {
    for (const _ of requests) ctx.load.addRequest(-1);
  };
}

test("under load, all webhooks share 64 deliveries a second, and the rest comes later", async () => {
  const here = await webhookWorld();
  const receivers = [here.receiver(), here.receiver()];
  for (const receiver of receivers) await here.webhookTo(receiver, onlyDeleted);
  const subjects = await here.recordEvents(200);
  const counts = () => receivers.map(({ received }) => received.length);
  const endLoad = underLoad(here);
  here.start();
  const from = performance.now();
  await until(() => counts().every((count) => count >= 48));
  const [most = 0] = counts().toSorted((a, b) => b - a);
  expect(most).toBeLessThan(75);
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
  const subjects = await here.recordEvents(100);
  const endLoad = underLoad(here);
  here.start();
  await until(() => ordered.received.length === 48, 10_000);
  expect(parallel.received.length).toBeLessThan(90);
  endLoad();
  await until(() => ordered.received.length === 100);
  expect(subjectsOf(ordered.received)).toEqual(subjects);
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
  const endLoad = underLoad(here);
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
