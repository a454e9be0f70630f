import { isatty } from "node:tty";
import { openSupervisor } from "../adapters/systemd.ts";
import type { Config } from "../config/config.ts";
import { endOnStopSignals, keepOnStopSignals, STOP_SIGNALS } from "../kit/signals.ts";
import type { Role } from "./process-role.ts";
import { openWorkers } from "./workers.ts";

const STANDARD_INPUT = 0;

/** The process that was started: it has the signals, the supervisor, the data directory, and the workers if there are any. */
export function lead({ workers: count, shutdownDelaySeconds }: Config): Role {
  const supervisor = openSupervisor(process.env);
  const workers = openWorkers(count - 1);
  const hangUps = openHangUps();
  let isEnding = false;
  return {
    purpose: "serve",
    isSeveral: count > 1,
    gather: count > 1 ? async (own) => own.text(await workers.snapshots()) : undefined,
    stopped: async () => {
      await untilStopped();
      isEnding = true;
      supervisor.stopping();
      workers.tell({ kind: "stop" });
    },
    begin: async (handlers) => {
      await workers.start(handlers);
      if (isEnding) return;
      hangUps.hear(() => {
        handlers.reload();
        workers.tell({ kind: "reload" });
      });
      supervisor.ready();
    },
    end: () => workers.end(shutdownDelaySeconds * 1000),
  };
}

/** SIGHUP asks to read the settings again, also while they are read for the first time; on a terminal it says that that is gone. */
function openHangUps() {
  let isEarly = false;
  let onHangUp = () => {
    isEarly = true;
  };
  if (!isatty(STANDARD_INPUT)) process.on("SIGHUP", () => onHangUp());
  return {
    hear: (reload: () => void) => {
      onHangUp = reload;
      if (isEarly) reload();
    },
  };
}

/**
 * The first signal asks to finish; from then on, and before the server listens, a signal ends the process at once: the
 * kernel stops the embedded database with it.
 */
function untilStopped(): Promise<void> {
  return new Promise((resolve) => {
    const signals = isatty(STANDARD_INPUT) ? [...STOP_SIGNALS, "SIGHUP"] : STOP_SIGNALS;
    const stop = () => {
      for (const signal of signals) process.off(signal, stop);
      endOnStopSignals();
      resolve();
    };
    for (const signal of signals) process.on(signal, stop);
    keepOnStopSignals();
  });
}
