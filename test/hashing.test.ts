import { expect, test } from "bun:test";
import { openHashing } from "../src/credentials/hashing.ts";
import { usualCost } from "../src/credentials/password.ts";

const bounds = { atOnce: 2, queueMax: 3, waitMaxMs: 10_000, cost: usualCost };

/** Work that ends on demand. */
function held() {
  const ends: (() => void)[] = [];
  const work = () => new Promise<void>((resolve) => void ends.push(resolve));
  const endOne = async () => {
    ends.shift()?.();
    await Bun.sleep(0);
  };
  return { work, endOne, started: () => ends.length };
}

test("a maximum number of hashes run, a maximum number wait, and the rest is refused", async () => {
  const hashing = openHashing(bounds);
  const { work, endOne, started } = held();
  const inside = [1, 2, 3, 4, 5].map(() => hashing.run(work));
  expect(hashing.counts()).toMatchObject({ running: 2, waiting: 3 });
  await expect(hashing.run(work)).rejects.toMatchObject({ code: "busy" });
  expect(hashing.refuseIfFull).toThrow("Too many passwords");
  expect(started()).toBe(2);
  for (let left = 5; left > 0; left -= 1) await endOne();
  await Promise.all(inside);
  expect(hashing.counts()).toMatchObject({ running: 0, waiting: 0 });
});

test("the queue is first in, first out", async () => {
  const hashing = openHashing({ ...bounds, atOnce: 1 });
  const order: number[] = [];
  await Promise.all([1, 2, 3, 4].map((n) => hashing.run(async () => void order.push(n))));
  expect(order).toEqual([1, 2, 3, 4]);
});

test("a request that waited too long is refused, and never runs", async () => {
  const hashing = openHashing({ ...bounds, atOnce: 1, queueMax: 3, waitMaxMs: 20 });
  const { work, endOne } = held();
  const first = hashing.run(work);
  let served = false;
  const late = hashing.run(async () => {
    served = true;
  });
  await expect(late).rejects.toMatchObject({ code: "busy" });
  expect(hashing.counts()).toMatchObject({ running: 1, waiting: 0 });
  await endOne();
  await first;
  expect([served, hashing.counts().running]).toEqual([false, 0]);
});

test("work that fails releases its slot", async () => {
  const hashing = openHashing({ ...bounds, atOnce: 1 });
  const failing = () => Promise.reject(new Error("no"));
  await expect(hashing.run(failing)).rejects.toThrow("no");
  expect(await hashing.run(async () => "yes")).toBe("yes");
});
