import { constants } from "node:os";

export const STOP_SIGNALS = ["SIGTERM", "SIGINT"] as const;

const FIRST_PROCESS = 1;

/**
 * The kernel drops a signal that process 1 has no handler for, and a container's program is process 1. Any other process is
 * ended by the kernel, at once and whatever it does, so it gets no handler here.
 */
export function endOnStopSignals(): void {
  if (process.pid !== FIRST_PROCESS) return;
  for (const signal of STOP_SIGNALS) process.on(signal, exitBySignal);
}

/** From now on, the caller's handlers are the only ones. */
export function keepOnStopSignals(): void {
  for (const signal of STOP_SIGNALS) process.off(signal, exitBySignal);
}

/** With the exit code that a shell gives a process that a signal has ended. */
export const exitBySignal = (signal: keyof typeof constants.signals): never =>
  process.exit(128 + constants.signals[signal]);
