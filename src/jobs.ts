import type { Ctx, Job, OpenJob } from "./ctx.ts";
import { purgeIdempotency } from "./http/idempotency.ts";
import { joinTables } from "./kit/join.ts";
import { evictLimits, purgeLimits } from "./limits/postgres-counters.ts";
import { answerLinkRequests } from "./modules/emails/requests.ts";
import { eraseRemainingOrigins } from "./modules/events/erasure.ts";
import { publishEvents, releaseLease } from "./modules/events/relay.ts";
import { purgeEvents } from "./modules/events/retention.ts";
import { reportUnsettledEvents } from "./modules/events/unsettled.ts";
import { maintainKeys } from "./modules/keys/keys.ts";
import { purgeLinks } from "./modules/links/links.ts";
import { deliverMails, purgeMails } from "./modules/mail/mail.ts";
import { reportWaitingMails } from "./modules/mail/waiting.ts";
import { purgeRevokedTokens } from "./modules/oauth/revoked-tokens.ts";
import { purgeRegistrations } from "./modules/registration/registration.ts";
import { purgeSessions } from "./modules/sessions/sessions.ts";
import { correctDueTimes, purgeDeliveries } from "./modules/webhooks/deliveries.ts";
import { reencryptSecrets } from "./modules/webhooks/secrets.ts";
import { openSenders } from "./modules/webhooks/senders.ts";
import { productJobs } from "./product/jobs.ts";

const MINUTE_MS = 60_000;
/** Under load, the shortest time between two starts of a job that events wake. */
const UNDER_LOAD_EVERY_MS = 500;

type AnyJob = Job | OpenJob;

const bunkerJobs: Record<string, AnyJob> = {
  "purge sessions": { everyMs: 10 * MINUTE_MS, run: purgeSessions },
  "maintain keys": { everyMs: 5_000, isUrgent: true, run: maintainKeys },
  "deliver mails": { everyMs: 1_000, run: deliverMails },
  "report waiting mails": { everyMs: MINUTE_MS, run: reportWaitingMails },
  "answer link requests": { everyMs: 1_000, run: answerLinkRequests },
  "publish events": {
    everyMs: 1_000,
    isUrgent: true,
    isWokenByEvents: true,
    run: publishEvents,
    stop: releaseLease,
  },
  "purge events": { everyMs: 10 * MINUTE_MS, run: purgeEvents },
  "report unsettled events": { everyMs: 10_000, run: reportUnsettledEvents },
  "purge links": { everyMs: 10 * MINUTE_MS, run: purgeLinks },
  "purge registrations": { everyMs: 10 * MINUTE_MS, run: purgeRegistrations },
  "erase deleted users": { everyMs: MINUTE_MS, run: eraseRemainingOrigins },
  "purge mails": { everyMs: 10 * MINUTE_MS, run: purgeMails },
  "deliver webhooks": { everyMs: 1_000, isWokenByEvents: true, open: openSenders },
  "correct webhook times": { everyMs: MINUTE_MS, run: correctDueTimes },
  "reencrypt webhook secrets": { everyMs: 10 * MINUTE_MS, run: reencryptSecrets },
  "purge webhook deliveries": { everyMs: 10 * MINUTE_MS, run: purgeDeliveries },
  "purge idempotency": { everyMs: 10 * MINUTE_MS, run: purgeIdempotency },
  "purge revoked tokens": { everyMs: 10 * MINUTE_MS, run: purgeRevokedTokens },
  "purge limits": { everyMs: 10 * MINUTE_MS, run: purgeLimits },
  "evict limits": { everyMs: 10 * MINUTE_MS, run: (ctx) => evictLimits(ctx) },
};

/** Every background job. Each runs on every instance. */
export const jobs = joinTables(bunkerJobs, productJobs);

/**
 * Runs each job at its interval, and never twice at once. A failed job is retried at its next
 * interval; only the first of several failures is logged. Returns a function that stops all jobs
 * and resolves when none is running.
 */
export function startJobs(ctx: Ctx, table: Record<string, AnyJob> = jobs): () => Promise<void> {
  const stops = Object.entries(table).map(([name, job]) => startJob(ctx, name, job));
  return async () => {
    await Promise.all(stops.map((stop) => stop()));
  };
}

function startJob(ctx: Ctx, name: string, job: AnyJob): () => Promise<void> {
  const span = { name: `job ${name}` };
  const logged = new Set<string>();
  let isStopped = false;
  let isFailing = false;
  let isWoken = false;
  let running: Promise<void> | undefined;
  let startedAt = Number.NEGATIVE_INFINITY;
  let starting: ReturnType<typeof setTimeout> | undefined;
  const opened =
    "open" in job ? job.open(ctx) : { run: job.run, close: async () => job.stop?.(ctx) };
  const runPart = () => {
    const work = () => opened.run(ctx, logged);
    return ctx.tracing.isSampled(null) ? ctx.tracing.begin(span, null, work) : work();
  };
  const isSlowed = () => job.isWokenByEvents === true && ctx.load.isHigh();
  /** Under load, only a part. Returns whether there may be more. */
  const runUntilDone = async (): Promise<boolean> => {
    startedAt = performance.now();
    let isLeft = false;
    try {
      do {
        isWoken = false;
        isLeft = (await runPart()) > 0 || isWoken;
      } while (isLeft && !isStopped && !isSlowed());
      isFailing = false;
    } catch (error) {
      if (!isFailing && !isStopped)
        ctx.log.error({ err: error, job: name }, "Job failed; retrying.");
      isFailing = true;
      isLeft = false;
    }
    const seconds = (performance.now() - startedAt) / 1000;
    ctx.metrics.recordJob(name, { isFailed: isFailing, seconds });
    return isLeft;
  };
  const start = () => {
    running ??= runUntilDone().then((isLeft) => {
      running = undefined;
      if (isLeft) startSoon();
    });
  };
  /** Starts now. Under load, a job that events wake starts twice a second at most. */
  const startSoon = () => {
    if (isStopped) return;
    const waitMs = isSlowed() ? startedAt + UNDER_LOAD_EVERY_MS - performance.now() : 0;
    if (waitMs <= 0) start();
    else starting ??= setTimeout(startDelayed, waitMs);
  };
  const startDelayed = () => {
    starting = undefined;
    startSoon();
  };
  if (job.isUrgent) start();
  const timer = setInterval(startSoon, job.everyMs);
  const wake = () => {
    isWoken = true;
    startSoon();
  };
  const unsubscribe = job.isWokenByEvents ? ctx.eventSignal.subscribe(wake) : () => {};
  return async () => {
    isStopped = true;
    unsubscribe();
    clearInterval(timer);
    clearTimeout(starting);
    await running;
    await opened
      .close()
      .catch((error) => ctx.log.error({ err: error, job: name }, "Job cleanup failed."));
  };
}
