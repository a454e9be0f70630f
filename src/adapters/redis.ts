import type { Count } from "../limits/policies.ts";
import type { SharedMemory } from "../limits/shared-memory.ts";
import { openLink } from "./redis-link.ts";
import { REFUND, TAKE } from "./redis-scripts.ts";
import type { SharedMemoryOptions } from "./shared-memory.ts";

const ANSWER_MAX_MS = 200;
const PROBE_SECONDS = "60";

/** Redis 6.2 or newer, or what speaks as it does (Valkey): one server, no cluster. */
export function openRedis(url: URL, { prefix, onTold, log }: SharedMemoryOptions): SharedMemory {
  const channel = `${prefix}accounts`;
  const scripts = { take: "", refund: "" };
  const { ask, isUp, close } = openLink({
    ...{ url, answerMaxMs: ANSWER_MAX_MS, log },
    begin: async ({ asks, hears }) => {
      // A replica, or one that is full, does not do.
      await asks.send("SET", [`${prefix}there`, "1", "EX", PROBE_SECONDS]);
      scripts.take = await asks.send("SCRIPT", ["LOAD", TAKE]);
      scripts.refund = await asks.send("SCRIPT", ["LOAD", REFUND]);
      await hears.subscribe(channel, (userId) => onTold(userId));
    },
  });
  const run = (script: keyof typeof scripts, keys: string[], words: number[]) =>
    ask("EVALSHA", [
      ...[scripts[script], String(keys.length)],
      ...keys.map((key) => prefix + key),
      ...words.map(String),
    ]);

  return {
    recall: async (name) => {
      const value = await ask("GET", [prefix + name]);
      return typeof value === "string" ? value : undefined;
    },
    keep: async (name, { value, seconds }) => {
      await ask("SET", [prefix + name, value, "EX", String(Math.max(1, seconds))]);
    },
    take: async (wants, now) => {
      const words = wants.flatMap(({ count, quota, refill, periodSeconds }) => [
        ...[count, quota, refill, periodSeconds],
      ]);
      const keys = wants.map(({ key }) => key);
      const counts = await run("take", keys, [now.getTime(), ...words]);
      if (!Array.isArray(counts)) return undefined;
      return new Map(keys.map((key, at) => [key, countOf(counts[at])]));
    },
    refund: async (backs) => {
      const keys = backs.map(({ key }) => key);
      await run(
        "refund",
        keys,
        backs.map(({ count }) => count),
      );
    },
    tell: (userId) => void ask("PUBLISH", [channel, userId]),
    state: () => (isUp() ? "ok" : "away"),
    close,
  };
}

const countOf = ([spent = 0, granted = 0, refillInSeconds = 1]: number[]): Count => ({
  ...{ spent, granted, refillInSeconds },
});
