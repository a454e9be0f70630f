import { isatty } from "node:tty";
import { openSupervisor } from "../adapters/supervisor.ts";
import type { Config } from "../config.ts";
import { type Crew, STOP_SIGNALS } from "./crew.ts";
import { openWorkers } from "./workers.ts";

const STANDARD_INPUT = 0;

/** The process that was started: it has the signals, the supervisor, the data directory, and the workers if there are any. */
export function lead({ workers: count, shutdownDelaySeconds }: Config): Crew {
  const supervisor = openSupervisor(process.env);
  const workers = openWorkers(count - 1);
  return {
    purpose: "serve",
    isSeveral: count > 1,
    gather: count > 1 ? async (own) => own.text(await workers.snapshots()) : undefined,
    begin: async (duties) => {
      await workers.start(duties);
      const reload = () => {
        duties.reload();
        workers.tell({ kind: "reload" });
      };
      if (!isatty(STANDARD_INPUT)) process.on("SIGHUP", reload);
      supervisor.ready();
    },
    stopped: async () => {
      await untilStopped();
      supervisor.stopping();
      workers.tell({ kind: "stop" });
    },
    end: () => workers.end(shutdownDelaySeconds * 1000),
  };
}

/**
 * The first signal asks to finish; from then on, and before the server listens, a signal ends the process at once: the
 * kernel stops the embedded database with it. SIGHUP on a terminal says that the terminal is gone.
 */
function untilStopped(): Promise<void> {
  return new Promise((resolve) => {
    const signals = isatty(STANDARD_INPUT) ? [...STOP_SIGNALS, "SIGHUP"] : STOP_SIGNALS;
    const stop = () => {
      for (const signal of signals) process.off(signal, stop);
      resolve();
    };
    for (const signal of signals) process.on(signal, stop);
  });
}
