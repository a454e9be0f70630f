import { type Config, readConfig } from "../config/config.ts";
import { Exit } from "../kit/exit.ts";
import { within } from "../kit/within.ts";
import type { Runtime } from "../runtime.ts";
import { openInstance, type ServerInstance } from "./instance.ts";

/** The server with its latest settings. */
export interface Reloader {
  current: () => ServerInstance;
  start: () => Promise<void>;
  /** Reads and applies the settings. If they are invalid, logs that and keeps the current ones. */
  reload: () => void;
  /** Stops the background jobs while requests still arrive. */
  stopJobs: () => Promise<void>;
  close: () => Promise<void>;
}

/** How long requests in flight may take after a reload and during a graceful shutdown. */
export const DRAIN_MAX_MS = 25_000;

/** How long jobs may take during a graceful shutdown, such as a mail in transfer. */
const JOBS_MAX_MS = 10_000;

/** Throws an Exit with the reason. */
export async function openReloader(config: Config, runtime: Runtime): Promise<Reloader> {
  const { log, lifecycle } = runtime;
  let current = await openInstance(config, runtime);
  let latest = (async () => {})();
  const closing = new Set<Promise<void>>();

  const applySettings = async () => {
    // Two instances at most at a time: each has a connection pool.
    await Promise.all(closing);
    if (lifecycle.isStopping) return;
    const settings = readConfig(process.env, { isServing: true }).config;
    const next = await openInstance(settings, runtime);
    const before = current;
    next.app.server = before.app.server;
    log.setLevel(settings.logLevel);
    current = next;
    next.startJobs();
    // Only after the old one is closed: counters continue from its last values.
    const closed = before
      .close(DRAIN_MAX_MS)
      .finally(next.startMetrics)
      .finally(() => closing.delete(closed));
    closing.add(closed);
    log.info({}, "Settings reloaded.");
  };
  const logRefusal = (error: unknown) =>
    log.error(
      error instanceof Exit ? { reason: error.message } : { err: error },
      "Reload failed; the previous settings stay in effect.",
    );
  return {
    current: () => current,
    start: async () => {
      current.startJobs();
      await current.startMetrics();
    },
    reload: () => {
      latest = latest.then(applySettings).catch(logRefusal);
    },
    stopJobs: async () => {
      await within(JOBS_MAX_MS, latest);
      void current.stopJobs();
    },
    close: async () => {
      await Promise.all([...closing, current.close(JOBS_MAX_MS)]);
    },
  };
}
