import type { Ctx } from "../../ctx.ts";
import { envelopeOf } from "../events/envelope.ts";
import { attempt } from "./attempt.ts";
import { type Claimed, claimDue, release } from "./claims.ts";
import { type Result, writeResults } from "./results.ts";
import type { Webhook } from "./webhooks.ts";

/** Sends the due deliveries of one webhook, in this process. */
export interface Sender {
  /** Starts as many workers as the webhook may have. They end when nothing is due. */
  start: () => void;
  /** Gives up what was claimed of another version of the webhook: another URL, or disabled. */
  releaseUnless: (version: number | undefined) => void;
  isIdle: () => boolean;
  /** What this process has claimed, and not ended. */
  held: () => Claimed[];
  /** The failures of workers since the last call, such as an outage of the database. */
  takeFailures: () => unknown[];
  /** Starts no other attempt. Resolves when the ones in flight have ended, or were aborted. */
  close: () => Promise<void>;
}

export function openSender(ctx: Ctx, webhookId: string): Sender {
  const write = openResultWriter((results) => writeResults(ctx, webhookId, results));
  const claims = openClaims(ctx, webhookId);
  const workers = new Set<Promise<void>>();
  const inFlight = new Set<Claimed>();
  const closing = new AbortController();
  const failures: unknown[] = [];
  const fail = (error: unknown) => failures.push(error);
  let active = 0;
  let isClosed = false;

  const next = async (): Promise<Claimed | undefined> => {
    // Under load, `start` claims the next ones, once a second.
    if (claims.mayFill() && !ctx.load.isHigh()) await claims.fill();
    startWorkers();
    return isClosed ? undefined : claims.take();
  };
  const handle = async (claimed: Claimed) => {
    inFlight.add(claimed);
    try {
      const result = await deliver(ctx, claimed, closing.signal);
      const isDisabled = await write(result);
      if (isDisabled) await claims.release();
      else if (result.attempt?.isSuccess === false) await claims.holdBack(claimed.webhook);
    } catch (error) {
      if (!closing.signal.aborted) throw error;
      await release(ctx, [claimed]);
    } finally {
      inFlight.delete(claimed);
    }
  };
  const work = async () => {
    try {
      for (let claimed = await next(); claimed; claimed = await next()) {
        await handle(claimed);
        if (active > claims.workers()) return;
      }
    } catch (error) {
      fail(error);
    } finally {
      active -= 1;
    }
  };
  const startWorkers = () => {
    const needed = Math.min(claims.workers(), active + claims.claimed().length);
    while (active < needed && !isClosed) {
      active += 1;
      const worker = work().finally(() => workers.delete(worker));
      workers.add(worker);
    }
  };
  const start = async () => {
    if (claims.isPaused()) return;
    claims.noteNew();
    startWorkers();
    const isBusy = active > 0 && active >= claims.workers();
    if (!isBusy && claims.mayFill()) await claims.fill();
    startWorkers();
  };

  return {
    start: () => void start().catch(fail),
    releaseUnless: (version) => void claims.releaseUnless(version).catch(fail),
    held: () => [...inFlight, ...claims.claimed()],
    isIdle: () => active === 0 && claims.isIdle() && failures.length === 0,
    takeFailures: () => failures.splice(0),
    close: async () => {
      isClosed = true;
      const timer = setTimeout(() => closing.abort(), CLOSE_MAX_MS);
      await Promise.all(workers);
      clearTimeout(timer);
      await claims.release();
    },
  };
}

/** A receiver that fails gets one request a second from each process. */
const PROBE_EVERY_MS = 1_000;

/** A receiver that hangs must not delay the end of the process. */
const CLOSE_MAX_MS = 3_000;

/** What a lease must have left to begin an attempt. Meanwhile it is renewed. */
const LEASE_MIN_MS = 1_000;

/** What this process has claimed of one webhook, and not sent yet. */
function openClaims(ctx: Ctx, webhookId: string) {
  let claimed: Claimed[] = [];
  let claiming: Promise<void> | undefined;
  let workers = 0;
  /** Whether the latest claim got all that was due. */
  let isDrained = false;
  /** Whether there may be more since the latest claim began. */
  let isStale = false;
  /** While the receiver fails, when the next attempt may begin. */
  let pausedUntil = 0;

  const claim = async () => {
    do {
      isStale = false;
      const found = await claimDue(ctx, webhookId);
      workers = found.parallel;
      isDrained = found.isAll;
      claimed.push(...found.claimed);
    } while (isStale && claimed.length === 0);
    if (isStale) isDrained = false;
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
    isDrained = true;
    await release(ctx, unused);
  };
  return {
    /** How many workers the webhook may have, as of the latest claim. */
    workers: () => workers,
    claimed: () => claimed,
    isPaused,
    isIdle: () => claimed.length === 0 && !claiming && !isPaused(),
    noteNew: () => {
      isStale = true;
      isDrained = false;
    },
    mayFill: () => claimed.length === 0 && !isDrained,
    fill: (): Promise<void> => {
      claiming ??= claim().finally(() => {
        claiming = undefined;
      });
      return claiming;
    },
    take: (): Claimed | undefined => {
      const now = ctx.now().getTime();
      // What is no longer leased is claimed again, by any process.
      claimed = claimed.filter(({ leasedUntil }) => leasedUntil.getTime() - now > LEASE_MIN_MS);
      return claimed.shift();
    },
    /** After a failure: of an ordered webhook, or of one that failed already. */
    holdBack: async ({ isOrdered, failingSince }: Webhook): Promise<void> => {
      if (failingSince) pausedUntil = ctx.now().getTime() + PROBE_EVERY_MS;
      if (failingSince || isOrdered) await releaseAll();
    },
    release: releaseAll,
    releaseUnless: async (version: number | undefined): Promise<void> => {
      const isCurrent = ({ webhook }: Claimed) => webhook.updatedAt.getTime() === version;
      if (!claimed.every(isCurrent)) await releaseAll();
    },
  };
}

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
