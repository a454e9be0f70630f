import { heapStats } from "bun:jsc";
import { expect, test } from "bun:test";
import { join } from "node:path";

test("the driver's queue keeps no memory although it is never empty", async () => {
  const path = join(import.meta.dir, "../node_modules/postgres/src/queue.js");
  const { default: openQueue } = await import(path);
  const queue = openQueue();
  const heapAfter = (times: number) => {
    for (let at = 0; at < times; at += 1) {
      queue.push(at);
      if (at > 0) queue.shift();
    }
    Bun.gc(true);
    return heapStats().heapSize;
  };
  const before = heapAfter(10_000);
  expect(heapAfter(4_000_000) - before).toBeLessThan(8_000_000);
  expect([queue.length, queue.shift()]).toEqual([2, 3_999_998]);
});
