import { setTimeout as sleep } from "node:timers/promises";
import { type Config, readConfig } from "../config/config.ts";
import { Exit } from "../kit/exit.ts";
import type { Runtime } from "../runtime.ts";
import { openInstance, type ServerInstance } from "./instance.ts";

/** The server, under its latest settings. */
export interface Reloader {
  current: () => ServerInstance;
  /** Begins what happens in the background, and what is told of it. */
  begin: () => Promise<void>;
  /** Reads the settings again and goes over to them; where they cannot be used, says so and stays. */
  reload: () => void;
  /** Lets go of the background's work, while requests still come. */
  rest: () => Promise<void>;
  close: () => Promise<void>;
}

/** For the requests in flight, when settings change and at the end. */
export const DRAIN_MAX_MS = 25_000;

/** For what is under way in the background at the end, such as a mail that a server is about to take. */
const WORK_MAX_MS = 10_000;

/** Throws an Exit that says what is not there. */
export async function openReloader(config: Config, runtime: Runtime): Promise<Reloader> {
  const { log, lifecycle } = runtime;
  let current = await openInstance(config, runtime);
  let latest: Promise<void> | undefined;
  const closing = new Set<Promise<void>>();

  const goOver = async () => {
    // No more than two at a time: each has a pool.
    await Promise.all(closing);
    if (lifecycle.isStopping) return;
    const settings = readConfig(process.env, { isServing: true }).config;
    const next = await openInstance(settings, runtime);
    const before = current;
    next.app.server = before.app.server;
    log.setLevel(settings.logLevel);
    current = next;
    next.work();
    // What it counted to its end goes on being counted from there.
    const closed = before
      .close(DRAIN_MAX_MS)
      .finally(next.watch)
      .finally(() => closing.delete(closed));
    closing.add(closed);
    log.info({}, "The settings were read again.");
  };
  const refused = (error: unknown) =>
    log.error(
      error instanceof Exit ? { reason: error.message } : { err: error },
      "The settings cannot be read again; those before stay.",
    );
  return {
    current: () => current,
    begin: async () => {
      current.work();
      await current.watch();
    },
    reload: () => {
      const before = latest;
      latest = (async () => {
        await before;
        await goOver().catch(refused);
      })();
    },
    rest: async () => {
      await Promise.race([latest, sleep(WORK_MAX_MS, undefined, { ref: false })]);
      void current.rest();
    },
    close: async () => {
      await Promise.all([...closing, current.close(WORK_MAX_MS)]);
    },
  };
}
