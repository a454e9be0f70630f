/** Background work gives way to requests: when the load is high, and what starts then. */
import { expect, test } from "bun:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type Load, openLoad } from "../src/kit/load.ts";
import { openThrottle } from "../src/kit/throttle.ts";

const EVERY_MS = 100;
/** Longer than the 250 ms for which the load stays high after the last request. */
const CALM_MS = 400;

/** Begins and, with a negative count, ends requests. */
function addRequests(load: Load, count: number) {
  for (let one = 0; one < Math.abs(count); one += 1) load.addRequest(count > 0 ? 1 : -1);
}

/** A throttle in a process of one core. From eight requests in flight on, its load is high. */
function throttleUnder(requests: number) {
  const load = openLoad(1);
  addRequests(load, requests);
  const throttle = openThrottle(load, { count: 4, everyMs: EVERY_MS });
  const started: string[] = [];
  const startWork = (key: string, times: number) =>
    Promise.all(
      Array.from({ length: times }, () => throttle.wait(key).then(() => void started.push(key))),
    );
  const startedOf = (key: string) => started.filter((one) => one === key).length;
  return { load, throttle, startWork, started, startedOf };
}

test("the load is high from four requests for each core on, and for 250 ms afterwards", async () => {
  const load = openLoad(4);
  addRequests(load, 15);
  expect([load.isHigh(), load.isIdle()]).toEqual([false, false]);
  load.addRequest(1);
  expect(load.isHigh()).toBe(true);
  addRequests(load, -16);
  expect([load.isHigh(), load.isIdle()]).toEqual([true, false]);
  await sleep(CALM_MS);
  expect([load.isHigh(), load.isIdle()]).toEqual([false, true]);
});

test("one request for each webhook delivery in flight does not count, up to 16", () => {
  const load = openLoad(1);
  for (let one = 0; one < 100; one += 1) load.addDelivery(1);
  addRequests(load, 23);
  expect(load.isHigh()).toBe(false);
  load.addRequest(1);
  expect(load.isHigh()).toBe(true);
});

test("without load, work starts at once", async () => {
  const { startWork, started } = throttleUnder(7);
  await startWork("a", 100);
  expect(started.length).toBe(100);
});

test("under load, a bounded number starts in each interval, until the load ends", async () => {
  const { load, startWork, started } = throttleUnder(8);
  const startedAt = performance.now();
  const done = startWork("a", 20);
  await sleep(0);
  expect(started.length).toBe(4);
  while (started.length < 8) await sleep(1);
  // Timers may be a little early.
  expect(performance.now() - startedAt).toBeGreaterThan(EVERY_MS * 0.9);
  expect(started.length).toBe(8);
  addRequests(load, -8);
  await done;
  expect(started.length).toBe(20);
});

test("a key with much waiting work does not delay keys with little", async () => {
  const { startWork, startedOf, throttle } = throttleUnder(8);
  const many = startWork("many", 40);
  await sleep(0);
  await Promise.all([startWork("few", 1), startWork("other", 1)]);
  expect(startedOf("many")).toBeLessThanOrEqual(8);
  throttle.end();
  await many;
});

test("`end` resolves waiting and later calls", async () => {
  const { startWork, started, throttle } = throttleUnder(8);
  const done = startWork("a", 20);
  throttle.end();
  await Promise.all([done, startWork("a", 20)]);
  expect(started.length).toBe(40);
});
