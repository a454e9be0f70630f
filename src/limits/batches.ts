import QuickLRU from "quick-lru";
import { isUnwritable } from "../db/failures.ts";
import type { Count, LimitState, LimitUse, Policy } from "./policies.ts";

/** One request, and the policy of the limit that it counts against. */
export interface BatchedUse extends LimitUse {
  policy: Policy;
}

export interface BatchOptions {
  /** Consumes up to `count` from the quota that all instances share. */
  consume: (use: BatchedUse, count: number) => Promise<Count>;
  now: () => Date;
  size: number;
}

/** Quota of one key that this process has consumed in advance. */
interface Batch {
  remaining: number;
  /** What the shared counter had left after this batch. */
  remainingElsewhere: number;
  /** What this process granted before the shared counter counted it. */
  uncounted: number;
  isLast: boolean;
  startsAt: number;
  endsAt: number;
  refilling: Promise<void> | undefined;
}

const BATCHES_PER_QUOTA = 20;
const SECOND_MS = 1000;

/**
 * Counts the limits of every request in batches of a twentieth of the quota. One statement or one
 * command to Redis for each request would cost more than the request itself. The first batch of
 * each period needs none; the second one reports both to the shared counter. So an instance sends
 * nothing for most users, and each further instance allows a twentieth more.
 */
export function openBatches({ consume, now, size }: BatchOptions) {
  // QuickLRU keeps up to twice its maxSize.
  const batches = new QuickLRU<string, Batch>({ maxSize: Math.ceil(size / 2) });

  const batchOf = ({ limit, who, policy }: BatchedUse, time: number): Batch => {
    const key = `${limit} ${who}`;
    const known = batches.get(key);
    if (known && time >= known.startsAt && time < known.endsAt) return known;
    const batch = firstBatch(policy, time);
    batches.set(key, batch);
    return batch;
  };

  const refill = async (batch: Batch, use: BatchedUse): Promise<void> => {
    try {
      const count = await consume(use, sizeOf(use.policy) + batch.uncounted);
      batch.remaining = Math.max(0, count.granted - batch.uncounted);
      batch.uncounted = 0;
      batch.remainingElsewhere = Math.max(0, use.policy.quota - count.spent);
      batch.isLast = batch.remaining === 0;
      batch.endsAt = now().getTime() + count.refillInSeconds * SECOND_MS;
    } catch (error) {
      if (!isUnwritable(error)) throw error;
      refillLocally(batch, use.policy);
    } finally {
      batch.refilling = undefined;
    }
  };

  return async (use: BatchedUse): Promise<LimitState> => {
    const { limit, policy } = use;
    const time = now().getTime();
    const batch = batchOf(use, time);
    while (batch.remaining <= 0 && !batch.isLast) {
      batch.refilling ??= refill(batch, use);
      await batch.refilling;
    }
    const isGranted = batch.remaining > 0;
    batch.remaining -= isGranted ? 1 : 0;
    const refillInSeconds = Math.max(1, Math.ceil((batch.endsAt - time) / SECOND_MS));
    const remaining = batch.remaining + batch.remainingElsewhere;
    return { limit, policy, remaining, refillInSeconds, isGranted };
  };
}

/**
 * Refills without the shared counter while that is in a read-only database. Requests can then only
 * read, so this process counts them alone, up to the quota.
 */
function refillLocally(batch: Batch, policy: Policy): void {
  batch.isLast = batch.uncounted >= policy.quota;
  if (batch.isLast) return;
  batch.remaining = sizeOf(policy);
  batch.uncounted += batch.remaining;
  batch.remainingElsewhere = Math.max(0, policy.quota - batch.uncounted);
}

/** Uses the refill if it is less than the quota, because the first batch is free in each period. */
const sizeOf = ({ quota, refill }: Policy) =>
  Math.max(1, Math.floor(Math.min(quota, refill) / BATCHES_PER_QUOTA));

const firstBatch = (policy: Policy, time: number): Batch => ({
  remaining: sizeOf(policy),
  remainingElsewhere: policy.quota - sizeOf(policy),
  uncounted: sizeOf(policy),
  isLast: false,
  startsAt: time,
  endsAt: time + policy.periodSeconds * SECOND_MS,
  refilling: undefined,
});
