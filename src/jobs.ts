import type { Ctx } from "./ctx.ts";
import { purgeSessions } from "./modules/sessions/sessions.ts";

interface Job {
  everyMs: number;
  /** Does a part of what is to do, and answers how much of it: 0 when nothing is left. */
  run: (ctx: Ctx) => Promise<number>;
}

const MINUTE_MS = 60_000;

/** What happens in the background, on every instance. */
export const jobs: Record<string, Job> = {
  "purge sessions": { everyMs: 10 * MINUTE_MS, run: purgeSessions },
};

/**
 * Runs each job in its time, until the answer is called. A job that fails is logged and comes again; what it does in one go
 * is small, so nobody waits behind it.
 */
export function startJobs(ctx: Ctx): () => void {
  const timers = Object.entries(jobs).map(([name, job]) => {
    const run = async () => {
      try {
        while ((await job.run(ctx)) > 0);
      } catch (error) {
        ctx.log.error({ err: error, job: name }, "A job failed; it comes again.");
      }
    };
    return setInterval(run, job.everyMs);
  });
  return () => {
    for (const timer of timers) clearInterval(timer);
  };
}
