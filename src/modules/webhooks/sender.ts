import type { Ctx } from "../../ctx.ts";
import { envelopeOf } from "../events/envelope.ts";
import { attempt } from "./attempt.ts";
import { openClaimQueue } from "./claim-queue.ts";
import { type Claimed, release } from "./claims.ts";
import { type Result, writeResults } from "./results.ts";

/** Sends the due deliveries of one webhook, in this process. */
export interface Sender {
  /** Claims due deliveries, and starts loops that send them until nothing is due. */
  start: () => void;
  /**
   * Releases all that was claimed before the webhook was changed or disabled, or if a lease is
   * lost. `current` is the version of the webhook, or undefined if it is disabled. Must be called
   * after leases were renewed.
   */
  releaseOutdated: (current: number | undefined) => void;
  isIdle: () => boolean;
  /** Whether it has claimed deliveries, and no loop sends them. */
  isStalled: () => boolean;
  /** What this process has claimed, and not ended. */
  held: () => Claimed[];
  /** The failures since the last call, such as an outage of the database. */
  takeFailures: () => unknown[];
  /** Starts no other attempt. Resolves when the ones in flight have ended, or were aborted. */
  close: () => Promise<void>;
}

/** Awaits `untilTurn` before each delivery. */
export function openSender(ctx: Ctx, webhookId: string, untilTurn: () => Promise<void>): Sender {
  const write = openResultWriter((results) => writeResults(ctx, webhookId, results));
  const queue = openClaimQueue(ctx, webhookId);
  const loops = new Set<Promise<void>>();
  const inFlight = new Set<Claimed>();
  const closing = new AbortController();
  const failures: unknown[] = [];
  const fail = (error: unknown) => failures.push(error);
  let active = 0;
  let isClosed = false;

  const next = async (): Promise<Claimed | undefined> => {
    if (!isClosed && queue.shouldClaim()) await queue.claimMore();
    startLoops();
    if (queue.claimed().length > 0) await untilTurn();
    // Meanwhile, the webhook may have become ordered, or its receiver may fail.
    return isClosed || active > queue.concurrency() ? undefined : queue.take();
  };
  const handle = async (claimed: Claimed) => {
    inFlight.add(claimed);
    ctx.load.addDelivery(1);
    try {
      const result = await deliver(ctx, claimed, closing.signal);
      const isDisabled = await write(result);
      if (isDisabled) await queue.release();
      else if (result.attempt?.isSuccess === false) await queue.holdBack(claimed.webhook);
    } catch (error) {
      if (!closing.signal.aborted) throw error;
      await release(ctx, [claimed]);
    } finally {
      ctx.load.addDelivery(-1);
      inFlight.delete(claimed);
    }
  };
  const work = async () => {
    try {
      for (let claimed = await next(); claimed; claimed = await next()) await handle(claimed);
    } catch (error) {
      fail(error);
    } finally {
      active -= 1;
    }
  };
  const startLoops = () => {
    const needed = Math.min(queue.concurrency(), active + queue.claimed().length);
    while (active < needed && !isClosed) {
      active += 1;
      const loop = work().finally(() => loops.delete(loop));
      loops.add(loop);
    }
  };
  const start = async () => {
    if (queue.isPaused()) return;
    queue.markDue();
    startLoops();
    const hasSpare = active === 0 || active < queue.concurrency();
    if (hasSpare && queue.shouldClaim()) await queue.claimMore();
    startLoops();
  };

  return {
    start: () => void start().catch(fail),
    releaseOutdated: (current) => void queue.releaseOutdated(current).catch(fail),
    held: () => [...inFlight, ...queue.claimed()],
    isIdle: () => active === 0 && queue.isIdle() && failures.length === 0,
    isStalled: () => active === 0 && queue.claimed().length > 0,
    takeFailures: () => failures.splice(0),
    close: async () => {
      isClosed = true;
      const timer = setTimeout(() => closing.abort(), CLOSE_MAX_MS);
      await Promise.all(loops);
      clearTimeout(timer);
      await queue.release();
    },
  };
}

/** A receiver that hangs must not delay the end of the process. */
const CLOSE_MAX_MS = 3_000;

const DELIVERY = { name: "deliver webhook", kind: "client" } as const;

/** Attempts a delivery once. Throws if `signal` is aborted. */
async function deliver(ctx: Ctx, claimed: Claimed, signal: AbortSignal): Promise<Result> {
  const { event, webhook } = claimed;
  if (!event) return { claimed, attempt: undefined };
  const message = { id: event.id, envelope: envelopeOf(ctx.config, event), signal };
  const send = () => attempt(ctx, webhook, message);
  const { tracing } = ctx;
  const sent = tracing.isSampled(null) ? tracing.begin(DELIVERY, null, send) : send();
  return { claimed, attempt: await sent };
}

/** Writes the results that come while earlier ones are written as one batch. */
function openResultWriter(writeBatch: (results: Result[]) => Promise<boolean>) {
  let waiting: Result[] = [];
  let writing: Promise<boolean> | undefined;
  const writeAll = async () => {
    let isDisabled = false;
    while (waiting.length > 0) {
      const batch = waiting;
      waiting = [];
      isDisabled = await writeBatch(batch);
    }
    return isDisabled;
  };
  return (result: Result): Promise<boolean> => {
    waiting.push(result);
    writing ??= writeAll().finally(() => {
      writing = undefined;
    });
    return writing;
  };
}
