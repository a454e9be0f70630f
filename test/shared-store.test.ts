/** What instances share in Redis, and what happens without it. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { setTimeout as sleep } from "node:timers/promises";
import { openRedis } from "../src/adapters/redis.ts";
import { connect } from "../src/db/db.ts";
import type { Log } from "../src/kit/log.ts";
import { openCounters } from "../src/limits/counters.ts";
import { consume, refund } from "../src/limits/postgres-counters.ts";
import { checkState, countShared, type SharedStore } from "../src/limits/shared-store.ts";
import { needs } from "./support/needs.ts";
import { type RedisServer, redisServer } from "./support/redis.ts";
import { until } from "./support/until.ts";
import { database, world } from "./support/world.ts";

needs("redis-server").describe("a store that instances share", () => {
  let redis: RedisServer;
  const stores: SharedStore[] = [];
  const logTo = (said: string[]): Log => {
    const note = (_: object, sentence: string) => void said.push(sentence);
    return { debug: note, info: note, warn: note, error: note };
  };
  const open = async (prefix = "test:", said: string[] = []) => {
    const log = logTo(said);
    const store = openRedis(new URL(redis.url), { prefix, log });
    stores.push(store);
    await until(() => store.state() === "ok");
    return store;
  };

  beforeAll(async () => {
    redis = await redisServer();
    await world();
  });
  afterAll(() => {
    for (const store of stores) store.close();
    redis.thaw();
    redis.kill();
  });

  test("it counts as the database does, for any consumption and refund, and any clock", async () => {
    const store = await open();
    const random = dice(7);
    let now = Date.parse("2026-01-01T00:00:00Z");
    for (let step = 0; step < 400; step += 1) {
      const policies = kinds.map((kind, at) => ({ key: `0${at}`.repeat(16), ...kind }));
      const consumptions = policies
        .filter(() => random(2) > 0)
        .map((policy) => ({ ...policy, count: 1 + random(4) }));
      if (consumptions.length === 0) continue;
      now += random(20) === 0 ? -500_000 : random(4) * 3_700;
      const time = new Date(now);
      const counted = await store.consume(consumptions, time);
      const counts = await consume(database.sql, consumptions, time);
      for (const { key } of consumptions)
        expect(counts.get(key)).toMatchObject(counted?.get(key) ?? {});
      expect(counted?.size).toBe(consumptions.length);
      if (random(4) > 0) continue;
      const refunds = consumptions.map(({ key }) => ({ key, count: 1 + random(5) }));
      await Promise.all([store.refund(refunds), refund(database.db, refunds)]);
    }
  });

  test("if the database cannot count its part, nothing is consumed here either", async () => {
    const store = await open();
    const sql = connect({ url: "postgres://127.0.0.1:1/none", caFile: undefined }, { max: 1 });
    const counters = openCounters({ sql }, store, () => new Date());
    const passing = { key: "aa", count: 1, ...kinds[0] };
    const lasting = { key: "bb", count: 1, quota: 100, refill: 1, periodSeconds: 3_600 };
    await expect(counters.consume([passing, lasting])).rejects.toThrow();
    expect((await counters.consume([passing])).get("aa")).toMatchObject({ spent: 1 });
    await sql.end({ timeout: 0 });
  });

  test("it finds a count that another instance has stored, while that is valid", async () => {
    const [one, other, elsewhere] = [await open(), await open(), await open("others:")];
    expect(await other.get("a name")).toBeUndefined();
    await one.set("a name", { value: "a value", seconds: 1 });
    expect([await other.get("a name"), await elsewhere.get("a name")]).toEqual([
      "a value",
      undefined,
    ]);
    await sleep(1_100);
    expect(await other.get("a name")).toBeUndefined();
  });

  test("only a count that was slow is stored", async () => {
    const store = await open();
    const counting = (ms: number) => async () => {
      await sleep(ms);
      return ms;
    };
    expect(await countShared(store, "cheap", counting(1))).toBe(1);
    expect(await countShared(store, "cheap", counting(2))).toBe(2);
    expect(await countShared(store, "dear", counting(80))).toBe(80);
    await until(async () => (await store.get("dear")) !== undefined);
    expect(await countShared(store, "dear", counting(1))).toBe(80);
  });

  test("while Redis is frozen or gone it is skipped at once, with one log line, and used again when it is back", async () => {
    const said: string[] = [];
    const store = await open("test:", said);
    redis.freeze();
    const startedAt = performance.now();
    const asked = Array.from({ length: 50 }, () => store.get("a name"));
    expect(new Set(await Promise.all(asked))).toEqual(new Set([undefined]));
    expect(await store.consume([{ key: "00", count: 1, ...kinds[0] }], new Date())).toBeUndefined();
    expect(performance.now() - startedAt).toBeLessThan(1_000);
    expect(store.state()).toBe("away");
    redis.thaw();
    await until(() => store.state() === "ok");
    redis.kill();
    await until(() => store.state() === "away");
    await redis.up();
    await until(() => store.state() === "ok");
    await store.set("a name", { value: "again", seconds: 10 });
    expect(await store.get("a name")).toBe("again");
    const [away, again] = [expect.stringContaining("cannot be used"), "Redis is available again."];
    expect(said).toEqual([away, again, away, again]);
  });

  test("a client gets the quota once from each store, and again only if Redis lost its data", async () => {
    const store = await open();
    const counters = openCounters(database, store, () => new Date());
    const granted = async () => {
      const counts = await counters.consume([{ key: "cc", count: 4, ...kinds[1] }]);
      return counts.get("cc")?.granted;
    };
    const isBack = () => until(() => store.state() === "ok");
    const found = [await granted()];
    for (const _ of [1, 2]) {
      redis.freeze();
      found.push(await granted());
      redis.thaw();
      await isBack();
      found.push(await granted());
    }
    redis.kill();
    await until(() => store.state() === "away");
    found.push(await granted());
    await redis.up();
    await isBack();
    found.push(await granted());
    expect(found).toEqual([3, 3, 0, 0, 0, 0, 3]);
  });

  test("an idle instance reports a frozen Redis", async () => {
    const store = await open();
    expect(await checkState(store)).toBe("ok");
    redis.freeze();
    expect(await checkState(store)).toBe("away");
    redis.thaw();
  });

  test("a Redis without free memory is not used", async () => {
    await redis.ask("CONFIG", "SET", "maxmemory", "1");
    const store = openRedis(new URL(redis.url), {
      prefix: "test:",
      log: logTo([]),
    });
    stores.push(store);
    await sleep(300);
    expect(store.state()).toBe("away");
    await redis.ask("CONFIG", "SET", "maxmemory", "0");
    await until(() => store.state() === "ok");
  });
});

const kinds = [
  { quota: 10, refill: 5, periodSeconds: 60 },
  { quota: 3, refill: 3, periodSeconds: 900 },
  { quota: 20, refill: 20, periodSeconds: 7 },
] as const;

/**
 * Numbers below a bound, always the same ones for a seed (the linear congruential generator of
 * Numerical Recipes).
 */
function dice(seed: number) {
  let state = seed;
  return (bound: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * bound);
  };
}
