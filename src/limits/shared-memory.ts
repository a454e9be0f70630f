import type { Consumption, Count, Refund } from "./policies.ts";

/**
 * Memory that all instances share. It may be unavailable, slow or empty at any moment, so it only
 * saves work: correctness never depends on it. No function throws or takes longer than 200 ms.
 */
export interface SharedMemory {
  /** Undefined if the name has no value, or the memory is unavailable. */
  get: (name: string) => Promise<string | undefined>;
  /** Stores a value for that many seconds, if the memory is available. */
  set: (name: string, entry: { value: string; seconds: number }) => Promise<void>;
  /** Counts as `limits/postgres-counters` does. Undefined if nothing was counted. */
  consume: (consumptions: Consumption[], now: Date) => Promise<Map<string, Count> | undefined>;
  refund: (refunds: Refund[]) => Promise<void>;
  /** `off` if there is no shared memory. */
  state: () => "ok" | "away" | "off";
  close: () => void;
}

/** For instances that share only the database. */
export const noSharedMemory: SharedMemory = {
  get: async () => undefined,
  set: async () => {},
  consume: async () => undefined,
  refund: async () => {},
  state: () => "off",
  close: () => {},
};

const SLOW_COUNT_MS = 50;
const SHARED_MAX_SECONDS = 60;

/**
 * Returns a number that may be slow to count. A count that took more than 50 ms is shared with the
 * other instances for 100 times as long as it took, at most a minute. So counting takes at most a
 * hundredth of the database's time, and a number that is fast to count is exact.
 */
export async function countShared(
  shared: SharedMemory,
  name: string,
  count: () => Promise<number>,
): Promise<number> {
  const known = await shared.get(name);
  if (known !== undefined) return Number(known);
  const startedAt = performance.now();
  const counted = await count();
  const tookMs = performance.now() - startedAt;
  const seconds = Math.min(SHARED_MAX_SECONDS, Math.ceil(tookMs / 10));
  if (tookMs > SLOW_COUNT_MS) void shared.set(name, { value: String(counted), seconds });
  return counted;
}
