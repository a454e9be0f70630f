import { constants } from "node:os";

export const STOP_SIGNALS = ["SIGTERM", "SIGINT"] as const;

const FIRST_PROCESS = 1;

/**
 * Ends process 1 on a stop signal: the kernel drops a signal for which process 1 has no handler,
 * and the program of a container is process 1. The kernel ends any other process itself.
 */
export function endOnStopSignals(): void {
  if (process.pid !== FIRST_PROCESS) return;
  for (const signal of STOP_SIGNALS) process.on(signal, exitBySignal);
}

/** Removes the handlers of `endOnStopSignals`: the caller has handlers of its own. */
export function keepOnStopSignals(): void {
  for (const signal of STOP_SIGNALS) process.off(signal, exitBySignal);
}

/** Exits with the code that a shell reports for a process that a signal ended. */
export const exitBySignal = (signal: keyof typeof constants.signals): never =>
  process.exit(128 + constants.signals[signal]);
