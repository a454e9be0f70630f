import { expect, test } from "bun:test";
import { openPrincipalCache } from "../src/kit/principal-cache.ts";

const userId = "019aac30-5c1b-7d4e-9d3f-6a2b8c4e1f70";
const key = { userId, sessionId: "019aac30-5c1b-7d4e-9d3f-6a2b8c4e1f71" };
const nothingReceived = () => ({ since: Number.POSITIVE_INFINITY, upTo: 0 });
const open = (size = 100) => openPrincipalCache<string>({ size, received: nothingReceived });

test("a cached principal is not read again until it changes", async () => {
  const cache = open();
  expect(await cache.find(key, async () => "first")).toBe("first");
  expect(await cache.find(key, async () => "second")).toBe("first");
  cache.forget(userId);
  expect(await cache.find(key, async () => "second")).toBe("second");
  cache.forgetAll();
  expect(await cache.find(key, async () => "third")).toBe("third");
});

test("a change during a read discards the result of the read", async () => {
  const cache = open();
  await cache.find(key, async () => {
    cache.forget(userId);
    return "as it was before";
  });
  expect(await cache.find(key, async () => "as it is")).toBe("as it is");
});

test("without heartbeats, entries expire", async () => {
  const cache = open();
  await cache.find(key, async () => "before");
  await Bun.sleep(850);
  expect(await cache.find(key, async () => "after")).toBe("after");
});

test("an entry from before the first heartbeat is not kept alive by later ones", async () => {
  const received = nothingReceived();
  const cache = openPrincipalCache<string>({ size: 100, received: () => received });
  await cache.find(key, async () => "before");
  received.since = performance.now();
  await cache.find({ ...key, sessionId: "other" }, async () => "cached value");
  await Bun.sleep(850);
  received.upTo = performance.now();
  expect(await cache.find(key, async () => "after")).toBe("after");
  const other = await cache.find({ ...key, sessionId: "other" }, async () => "read again");
  expect(other).toBe("cached value");
});

test("nobody is mistaken for another user, and absent users are not cached", async () => {
  const cache = open();
  expect(await cache.find(key, async () => undefined)).toBeUndefined();
  expect(await cache.find(key, async () => "now there")).toBe("now there");
  const otherUser = { ...key, userId: "019aac30-5c1b-7d4e-9d3f-6a2b8c4e1f99" };
  expect(await cache.find(otherUser, async () => undefined)).toBeUndefined();
});

test("the cache has a maximum size", async () => {
  const cache = open(1000);
  let reads = 0;
  const read = async () => {
    reads += 1;
    return "a user";
  };
  const keyOf = (n: number) => ({ userId, sessionId: String(n) });
  for (let n = 0; n < 1_000_000; n += 1) await cache.find(keyOf(n), read);
  reads = 0;
  for (let n = 999_999; n >= 998_000; n -= 1) await cache.find(keyOf(n), read);
  expect(reads).toBeGreaterThanOrEqual(1000);
  reads = 0;
  await cache.find(keyOf(0), read);
  expect(reads).toBe(1);
});
