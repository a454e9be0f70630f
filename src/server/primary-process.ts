import { isatty } from "node:tty";
import { openSupervisor } from "../adapters/systemd.ts";
import type { Config } from "../config/config.ts";
import { endOnStopSignals, keepOnStopSignals, STOP_SIGNALS } from "../kit/signals.ts";
import type { Role } from "./process-role.ts";
import { openWorkers } from "./workers.ts";

const STANDARD_INPUT = 0;

/** Handles signals, the supervisor and the data directory, and starts the worker processes. */
export function primaryRole({ workers: count, shutdownDelaySeconds }: Config): Role {
  const supervisor = openSupervisor(process.env);
  const workers = openWorkers(count - 1);
  const hangups = openHangups();
  let isStopping = false;
  return {
    purpose: "serve",
    isSeveral: count > 1,
    gather: count > 1 ? async (own) => own.text(await workers.snapshots()) : undefined,
    stopped: async () => {
      await untilStopped();
      isStopping = true;
      supervisor.stopping();
      workers.send({ kind: "stop" });
    },
    begin: async (handlers) => {
      await workers.start(handlers);
      if (isStopping) return;
      hangups.handle(() => {
        handlers.reload();
        workers.send({ kind: "reload" });
      });
      supervisor.ready();
    },
    end: () => workers.end(shutdownDelaySeconds * 1000),
  };
}

/**
 * SIGHUP reloads the settings. A SIGHUP during the start is kept, and handled when the server is
 * up. On a terminal, SIGHUP means that the terminal was closed: `untilStopped` handles it there.
 */
function openHangups() {
  let isPending = false;
  let onHangup = () => {
    isPending = true;
  };
  if (!isatty(STANDARD_INPUT)) process.on("SIGHUP", () => onHangup());
  return {
    handle: (reload: () => void) => {
      onHangup = reload;
      if (isPending) reload();
    },
  };
}

/**
 * Resolves at the first stop signal, which starts a graceful shutdown. A second one, or one before
 * the server listens, ends the process at once. The kernel then also stops the embedded database.
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
