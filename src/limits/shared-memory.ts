import type { Back, Count, Want } from "./policies.ts";

/**
 * A memory that all instances have in common, and that may be gone, slow or empty at any moment: it makes things cheaper, and nothing
 * that is right depends on it. None of it ever throws, or takes longer than a fifth of a second.
 */
export interface SharedMemory {
  /** Undefined: nothing is known by that name, or nobody can be asked. */
  recall: (name: string) => Promise<string | undefined>;
  /** Keeps it for so long, if it can. */
  keep: (name: string, kept: { value: string; seconds: number }) => Promise<void>;
  /** Counts as the database does (`limits/postgres-counters`). Undefined: nobody has counted. */
  take: (wants: Want[], now: Date) => Promise<Map<string, Count> | undefined>;
  refund: (backs: Back[]) => Promise<void>;
  /** Tells the other instances that an account has changed: earlier than the database does, and not for sure. */
  tell: (userId: string) => void;
  /** In one word; `off` where there is none. */
  state: () => "ok" | "away" | "off";
  close: () => void;
}

/** Where instances have nothing in common but the database. */
export const noSharedMemory: SharedMemory = {
  recall: async () => undefined,
  keep: async () => {},
  take: async () => undefined,
  refund: async () => {},
  tell: () => {},
  state: () => "off",
  close: () => {},
};

const DEAR_MS = 50;
const KEPT_MAX_SECONDS = 60;

/**
 * A number that may be dear to count. Where that took long, the others are told it as well, for a hundred times as long, a minute at
 * most: so counting takes a hundredth of the database's time, and where it is cheap the number is exact.
 */
export async function countShared(
  shared: SharedMemory,
  name: string,
  count: () => Promise<number>,
): Promise<number> {
  const known = await shared.recall(name);
  if (known !== undefined) return Number(known);
  const startedAt = performance.now();
  const counted = await count();
  const tookMs = performance.now() - startedAt;
  const seconds = Math.min(KEPT_MAX_SECONDS, Math.ceil(tookMs / 10));
  if (tookMs > DEAR_MS) void shared.keep(name, { value: String(counted), seconds });
  return counted;
}
