/** Background work gives way to requests: when the load is high, and what begins then. */
import { expect, test } from "bun:test";
import { setTimeout as sleep } from "node:timers/promises";
import { openLoad } from "../src/kit/load.ts";
import { openThrottle } from "../src/kit/throttle.ts";

const EVERY_MS = 100;
/** Longer than the load counts as high after the last request. */
const CALM_MS = 400;

/** A process of one core, on which eight requests in flight are a high load. */
function busyProcess() {
  const load = openLoad(1);
  const addRequests = (count: number) => {
    for (let one = 0; one < Math.abs(count); one += 1) load.addRequest(count > 0 ? 1 : -1);
  };
  addRequests(8);
  const throttle = openThrottle(load, { count: 4, everyMs: EVERY_MS });
  const begun: string[] = [];
  const request = (key: string, times: number) =>
    Promise.all(
      Array.from({ length: times }, () => throttle.wait(key).then(() => void begun.push(key))),
    );
  const begunOf = (key: string) => begun.filter((one) => one === key).length;
  return { load, addRequests, throttle, request, begun, begunOf };
}

test("the load is high from four requests for each core on, and for a moment afterwards", async () => {
  const load = openLoad(4);
  for (let one = 0; one < 15; one += 1) load.addRequest(1);
  expect([load.isHigh(), load.isIdle()]).toEqual([false, false]);
  load.addRequest(1);
  expect(load.isHigh()).toBe(true);
  for (let one = 0; one < 16; one += 1) load.addRequest(-1);
  expect([load.isHigh(), load.isIdle()]).toEqual([true, false]);
  await sleep(CALM_MS);
  expect([load.isHigh(), load.isIdle()]).toEqual([false, true]);
});

test("requests that receivers of webhooks may have made do not count, up to 16", () => {
  const load = openLoad(1);
  for (let one = 0; one < 100; one += 1) load.addDelivery(1);
  for (let one = 0; one < 23; one += 1) load.addRequest(1);
  expect(load.isHigh()).toBe(false);
  load.addRequest(1);
  expect(load.isHigh()).toBe(true);
});

test("without load, work begins at once", async () => {
  const { addRequests, request, begun } = busyProcess();
  addRequests(-8);
  await sleep(CALM_MS);
  await request("a", 100);
  expect(begun.length).toBe(100);
});

test("under load, a bounded number begins in each interval, until the load ends", async () => {
  const { addRequests, request, begun } = busyProcess();
  const startedAt = performance.now();
  const done = request("a", 20);
  await sleep(0);
  expect(begun.length).toBe(4);
  while (begun.length < 8) await sleep(1);
  // Timers may be a little early.
  expect(performance.now() - startedAt).toBeGreaterThan(EVERY_MS * 0.9);
  expect(begun.length).toBe(8);
  addRequests(-8);
  await done;
  expect(begun.length).toBe(20);
});

test("work that waits in numbers does not delay the few of others", async () => {
  const { request, begunOf, throttle } = busyProcess();
  const many = request("many", 40);
  await sleep(0);
  await Promise.all([request("few", 1), request("other", 1)]);
  expect(begunOf("many")).toBeLessThanOrEqual(8);
  throttle.end();
  await many;
});

test("an end resolves what waits and what is requested later", async () => {
  const { request, begun, throttle } = busyProcess();
  const done = request("a", 20);
  throttle.end();
  await Promise.all([done, request("a", 20)]);
  expect(begun.length).toBe(40);
});
