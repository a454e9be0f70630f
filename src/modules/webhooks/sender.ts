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
   * Releases what it has claimed if the webhook was changed or disabled, or if a lease is lost.
   * `version` is that of the webhook, or undefined if it is disabled. Then it goes on. Call it
   * after leases were renewed: one that ends soon then was lost.
   */
  releaseUnusable: (version: number | undefined) => void;
  isIdle: () => boolean;
  /** Whether it has claimed deliveries, and all loops have ended. `start` begins new ones. */
  isStalled: () => boolean;
  /** The claimed deliveries whose attempts have not ended. Their leases must be renewed. */
  held: () => Claimed[];
  /** The failures since the last call, such as an outage of the database. */
  takeFailures: () => unknown[];
  /** Starts no other attempt. Resolves when the ones in flight have ended, or were aborted. */
  close: () => Promise<void>;
}

/** Awaits `untilAllowed` before each delivery. It must not reject. */
export function openSender(ctx: Ctx, webhookId: string, untilAllowed: () => Promise<void>): Sender {
  const queue = openClaimQueue(ctx, webhookId);
  const failures: unknown[] = [];
  const fail = (error: unknown) => void failures.push(error);
  const attempts = openAttempts(ctx, { webhookId, queue, fail });
  let isClosed = false;

  const claimIfNeeded = async () => {
    if (!isClosed && queue.shouldClaim()) await queue.claimMore();
  };
  const next = async (): Promise<Claimed | undefined> => {
    await claimIfNeeded();
    startLoops();
    if (queue.claimed().length > 0) await untilAllowed();
    // The concurrency falls if the webhook becomes ordered, or if its receiver fails.
    while (!isClosed && loops.count() <= queue.concurrency()) {
      const claimed = queue.take();
      if (claimed || !queue.shouldClaim()) return claimed;
      // Meanwhile, other loops have taken all.
      await queue.claimMore();
    }
    return undefined;
  };
  const work = async () => {
    for (let claimed = await next(); claimed; claimed = await next()) await attempts.make(claimed);
  };
  const loops = openLoops(work, fail);
  const startLoops = () => {
    const needed = attempts.inFlight().length + queue.claimed().length;
    if (!isClosed) loops.startUpTo(Math.min(queue.concurrency(), needed));
  };
  const start = async () => {
    if (queue.isPaused()) return;
    queue.markDue();
    startLoops();
    const hasSpare = loops.count() < Math.max(1, queue.concurrency());
    if (hasSpare) await claimIfNeeded();
    startLoops();
  };
  const releaseUnusable = async (version: number | undefined) => {
    if (await queue.releaseUnusable(version)) await start();
  };

  return {
    start: () => void start().catch(fail),
    releaseUnusable: (version) => void releaseUnusable(version).catch(fail),
    held: () => [...attempts.inFlight(), ...queue.claimed()],
    isIdle: () => loops.count() === 0 && queue.isIdle() && failures.length === 0,
    isStalled: () => loops.count() === 0 && queue.claimed().length > 0,
    takeFailures: () => failures.splice(0),
    close: async () => {
      isClosed = true;
      const timer = setTimeout(attempts.abort, CLOSE_MAX_MS);
      await loops.ended();
      clearTimeout(timer);
      await queue.release();
    },
  };
}

interface AttemptsOptions {
  webhookId: string;
  queue: ReturnType<typeof openClaimQueue>;
  fail: (error: unknown) => void;
}

/** Attempts deliveries, and stores their results. */
function openAttempts(ctx: Ctx, { webhookId, queue, fail }: AttemptsOptions) {
  const write = openResultWriter((results) => writeResults(ctx, webhookId, results));
  const inFlight = new Set<Claimed>();
  const closing = new AbortController();
  const make = async (claimed: Claimed): Promise<void> => {
    inFlight.add(claimed);
    ctx.load.addDelivery(1);
    try {
      const result = await deliver(ctx, claimed, closing.signal);
      const isDisabled = await write(result);
      if (isDisabled) await queue.release();
      else if (result.attempt?.isSuccess === false) await queue.holdBack(claimed.webhook);
    } catch (error) {
      // Later events of an ordered webhook must wait until the lease of this one ends.
      if (claimed.webhook.isOrdered) await queue.release().catch(fail);
      if (!closing.signal.aborted) throw error;
      await release(ctx, [claimed]);
    } finally {
      ctx.load.addDelivery(-1);
      inFlight.delete(claimed);
    }
  };
  return { make, inFlight: () => [...inFlight], abort: () => closing.abort() };
}

/** Runs loops of `work` at the same time. */
function openLoops(work: () => Promise<void>, fail: (error: unknown) => void) {
  const loops = new Set<Promise<void>>();
  const run = async () => {
    // First, let `loops` have this one, because `work` counts them.
    await undefined;
    await work();
  };
  const start = () => {
    const loop: Promise<void> = run()
      .catch(fail)
      .finally(() => loops.delete(loop));
    loops.add(loop);
  };
  return {
    count: () => loops.size,
    startUpTo: (needed: number) => {
      while (loops.size < needed) start();
    },
    ended: () => Promise.all(loops),
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
      // After a failure, the callers of the rest got the error too, and send again.
      waiting = [];
      writing = undefined;
    });
    return writing;
  };
}
