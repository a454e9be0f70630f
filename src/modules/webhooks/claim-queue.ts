import type { Ctx } from "../../ctx.ts";
import { type Claimed, claimDue, release } from "./claims.ts";
import type { Webhook } from "./webhooks.ts";

/** A receiver that fails gets one request a second from each process. */
const PROBE_EVERY_MS = 1_000;

/** What a lease must have left to begin an attempt. It is renewed earlier, unless it is lost. */
const LEASE_MIN_MS = 1_000;

const hasTimeLeft = ({ leasedUntil }: Claimed, now: Date): boolean =>
  leasedUntil.getTime() - now.getTime() > LEASE_MIN_MS;

/** What this process has claimed of one webhook, and not sent yet. */
export function openClaimQueue(ctx: Ctx, webhookId: string) {
  let claimed: Claimed[] = [];
  let claiming: Promise<void> | undefined;
  let concurrency = 0;
  /** Whether the latest claim got all that was due. */
  let hasAllDue = false;
  /** Whether more may have become due since the latest claim began, and is not in its result. */
  let mayHaveMore = false;
  /** While the receiver fails, when the next attempt may begin. */
  let pausedUntil = 0;

  const claim = async () => {
    do {
      mayHaveMore = false;
      const found = await claimDue(ctx, webhookId);
      concurrency = found.concurrency;
      hasAllDue = found.hasAllDue;
      claimed.push(...found.claimed);
    } while (mayHaveMore && claimed.length === 0);
    if (mayHaveMore) hasAllDue = false;
  };
  const isPaused = () => {
    const leftMs = pausedUntil - ctx.now().getTime();
    // Longer only if the clock was set back.
    return leftMs > 0 && leftMs <= PROBE_EVERY_MS;
  };
  const releaseAll = async (): Promise<void> => {
    await claiming?.catch(() => {});
    const unused = claimed;
    claimed = [];
    hasAllDue = true;
    await release(ctx, unused);
  };
  return {
    /** How many requests to the receiver may be in flight, as of the latest claim. */
    concurrency: () => concurrency,
    claimed: () => claimed,
    isPaused,
    isIdle: () => claimed.length === 0 && !claiming && !isPaused(),
    /** More may be due. */
    markDue: () => {
      mayHaveMore = true;
      hasAllDue = false;
    },
    shouldClaim: () => claimed.length === 0 && !hasAllDue,
    claimMore: (): Promise<void> => {
      claiming ??= claim().finally(() => {
        claiming = undefined;
      });
      return claiming;
    },
    /** The next delivery. Undefined if none is claimed, or if its lease ends too soon. */
    take: (): Claimed | undefined => {
      const [next] = claimed;
      return next && hasTimeLeft(next, ctx.now()) ? claimed.shift() : undefined;
    },
    /** After a failure: of an ordered webhook, or of one that failed already. */
    holdBack: async ({ isOrdered, failingSince }: Webhook): Promise<void> => {
      if (failingSince) pausedUntil = ctx.now().getTime() + PROBE_EVERY_MS;
      if (failingSince || isOrdered) await releaseAll();
    },
    release: releaseAll,
    /** Returns whether it has released anything. */
    releaseUnusable: async (version: number | undefined): Promise<boolean> => {
      const isUsable = (one: Claimed) =>
        one.webhook.updatedAt.getTime() === version && hasTimeLeft(one, ctx.now());
      if (claimed.every(isUsable)) return false;
      await releaseAll();
      return true;
    },
  };
}
