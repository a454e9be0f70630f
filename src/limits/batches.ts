import QuickLRU from "quick-lru";
import { isUnwritable } from "../db/failures.ts";
import type { Count, LimitState, LimitUse, Policy } from "./policies.ts";

/** One request, and the limit that it counts against. */
export interface Account extends LimitUse {
  policy: Policy;
}

export interface BatchOptions {
  /** Takes up to `count` from what all instances have together. */
  take: (account: Account, count: number) => Promise<Count>;
  now: () => Date;
  /** How many accounts are remembered at most. */
  size: number;
}

/** Some requests of one actor, granted in advance. */
interface Lump {
  left: number;
  /** What the database had beyond it. */
  beyond: number;
  /** What was spent without the database knowing. */
  owed: number;
  isLast: boolean;
  beganAt: number;
  endsAt: number;
  taking: Promise<void> | undefined;
}

const LUMPS = 20;
const SECOND_MS = 1000;

/**
 * Counts in lumps of a twentieth what meets every request, where a statement for each would cost more than the request. The
 * first lump of each period is free of any statement; with the second, the database learns of both. So an instance
 * asks nothing for most people, and each further instance allows a twentieth more.
 */
export function openBatches({ take, now, size }: BatchOptions) {
  // It keeps up to twice what it is asked to.
  const lumps = new QuickLRU<string, Lump>({ maxSize: Math.ceil(size / 2) });

  const lumpOf = ({ limit, who, policy }: Account, time: number): Lump => {
    const key = `${limit} ${who}`;
    const known = lumps.get(key);
    if (known && time >= known.beganAt && time < known.endsAt) return known;
    const lump = freeLump(policy, time);
    lumps.set(key, lump);
    return lump;
  };

  const refill = async (lump: Lump, account: Account): Promise<void> => {
    try {
      const count = await take(account, sizeOf(account.policy) + lump.owed);
      lump.left = Math.max(0, count.granted - lump.owed);
      lump.owed = 0;
      lump.beyond = Math.max(0, account.policy.quota - count.spent);
      lump.isLast = lump.left === 0;
      lump.endsAt = now().getTime() + count.refillInSeconds * SECOND_MS;
    } catch (error) {
      if (!isUnwritable(error)) throw error;
      countHere(lump, account.policy);
    } finally {
      lump.taking = undefined;
    }
  };

  return async (account: Account): Promise<LimitState> => {
    const { limit, policy } = account;
    const time = now().getTime();
    const lump = lumpOf(account, time);
    while (lump.left <= 0 && !lump.isLast) {
      lump.taking ??= refill(lump, account);
      await lump.taking;
    }
    const isGranted = lump.left > 0;
    lump.left -= isGranted ? 1 : 0;
    const refillInSeconds = Math.max(1, Math.ceil((lump.endsAt - time) / SECOND_MS));
    return { limit, policy, left: lump.left + lump.beyond, refillInSeconds, isGranted };
  };
}

/** While nothing can be written, a request can only read: it is counted by this process alone, up to the quota. */
function countHere(lump: Lump, policy: Policy): void {
  lump.isLast = lump.owed >= policy.quota;
  if (lump.isLast) return;
  lump.left = sizeOf(policy);
  lump.owed += lump.left;
  lump.beyond = Math.max(0, policy.quota - lump.owed);
}

/** A free lump comes anew each period: where little comes back in one, it is the smaller. */
const sizeOf = ({ quota, refill }: Policy) =>
  Math.max(1, Math.floor(Math.min(quota, refill) / LUMPS));

const freeLump = (policy: Policy, time: number): Lump => ({
  left: sizeOf(policy),
  beyond: policy.quota - sizeOf(policy),
  owed: sizeOf(policy),
  isLast: false,
  beganAt: time,
  endsAt: time + policy.periodSeconds * SECOND_MS,
  taking: undefined,
});
