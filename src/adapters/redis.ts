import type { Log } from "../kit/log.ts";
import type { Count } from "../limits/policies.ts";
import type { SharedStore } from "../limits/shared-store.ts";
import { openRedisConnection } from "./redis-connection.ts";
import { CONSUME, REFUND } from "./redis-scripts.ts";

const REPLY_MAX_MS = 200;
const PROBE_SECONDS = "60";

export interface SharedStoreOptions {
  /** The prefix of all names, because several installations may share one server. */
  prefix: string;
  log: Log;
  /** For a command: connects with the first use, which waits for the connection. */
  isOnDemand?: boolean;
}

/**
 * The shared store in Redis 6.2 or newer, or a compatible server (Valkey). One server, no cluster.
 */
export function openRedis(
  url: URL,
  { prefix, log, isOnDemand = false }: SharedStoreOptions,
): SharedStore {
  const scripts = { consume: sha1(CONSUME), refund: sha1(REFUND) };
  const { send, isUp, close } = openRedisConnection({
    url,
    replyMaxMs: REPLY_MAX_MS,
    isOnDemand,
    log,
    prepare: async (client) => {
      // Fails early on a replica, or on a server without free memory.
      await client.send("SET", [`${prefix}probe`, "1", "EX", PROBE_SECONDS]);
      for (const script of [CONSUME, REFUND]) await client.send("SCRIPT", ["LOAD", script]);
    },
  });
  const run = (script: keyof typeof scripts, keys: string[], numbers: number[]) =>
    send("EVALSHA", [
      scripts[script],
      String(keys.length),
      ...keys.map((key) => prefix + key),
      ...numbers.map(String),
    ]);

  return {
    get: async (name) => {
      const value = await send("GET", [prefix + name]);
      return typeof value === "string" ? value : undefined;
    },
    set: async (name, { value, seconds }) => {
      await send("SET", [prefix + name, value, "EX", String(Math.max(1, seconds))]);
    },
    consume: async (consumptions, now) => {
      const numbers = consumptions.flatMap(({ count, quota, refill, periodSeconds }) => [
        count,
        quota,
        refill,
        periodSeconds,
      ]);
      const keys = consumptions.map(({ key }) => key);
      const counts = await run("consume", keys, [now.getTime(), ...numbers]);
      if (!Array.isArray(counts)) return undefined;
      return new Map(keys.map((key, at) => [key, countOf(counts[at])]));
    },
    refund: async (refunds) => {
      const keys = refunds.map(({ key }) => key);
      await run(
        "refund",
        keys,
        refunds.map(({ count }) => count),
      );
    },
    state: () => (isUp() ? "ok" : "away"),
    close,
  };
}

/** The name under which Redis keeps a script. */
const sha1 = (script: string) => new Bun.CryptoHasher("sha1").update(script).digest("hex");

const countOf = ([spent = 0, granted = 0, refillInSeconds = 1]: number[]): Count => ({
  spent,
  granted,
  refillInSeconds,
});
