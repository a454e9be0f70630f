import type { Consumption, Count, Refund } from "./policies.ts";

/**
 * Redis, which all instances share beside the database: the counters of limits with a short window,
 * and numbers that are slow to count. It may be unavailable, slow or empty at any moment, so
 * PostgreSQL can do all of its work. No function throws, and none takes longer than 200 ms (for a
 * command also the connection, 2 s).
 */
export interface SharedStore {
  /** Undefined if the name has no value, or Redis is unavailable. */
  get: (name: string) => Promise<string | undefined>;
  /** Stores a value for that many seconds, if Redis is available. */
  set: (name: string, entry: { value: string; seconds: number }) => Promise<void>;
  /**
   * Counts as `limits/postgres-counters` does. Undefined if Redis did not reply; it may have
   * counted nevertheless.
   */
  consume: (consumptions: Consumption[], now: Date) => Promise<Map<string, Count> | undefined>;
  refund: (refunds: Refund[]) => Promise<void>;
  /** `off` if REDIS_URL is not set. */
  state: () => "ok" | "away" | "off";
  close: () => void;
}

/** Without REDIS_URL: instances share only the database. */
export const noSharedStore: SharedStore = {
  get: async () => undefined,
  set: async () => {},
  consume: async () => undefined,
  refund: async () => {},
  state: () => "off",
  close: () => {},
};

/** The state after a command, because an idle instance does not notice a frozen Redis. */
export async function checkState(store: SharedStore): Promise<ReturnType<SharedStore["state"]>> {
  await store.get("probe");
  return store.state();
}

const SLOW_COUNT_MS = 50;
const SHARED_MAX_SECONDS = 60;

/**
 * Counts something that may be slow. A count that took more than 50 ms is shared for 100 times as
 * long as it took, so counting takes at most a hundredth of the database's time.
 */
export async function countShared(
  store: SharedStore,
  name: string,
  count: () => Promise<number>,
): Promise<number> {
  const known = await store.get(name);
  if (known !== undefined) return Number(known);
  const startedAt = performance.now();
  const counted = await count();
  const tookMs = performance.now() - startedAt;
  const seconds = Math.min(SHARED_MAX_SECONDS, Math.ceil(tookMs / 10));
  if (tookMs > SLOW_COUNT_MS) void store.set(name, { value: String(counted), seconds });
  return counted;
}
