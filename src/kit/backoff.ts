import { setTimeout as sleep } from "node:timers/promises";

export interface Backoff {
  /** How long to wait this time: twice as long as the time before, up to the most. */
  nextMs: () => number;
  /** Waits for so long. */
  wait: () => Promise<void>;
  reset: () => void;
}

export function openBackoff({ minMs, maxMs }: { minMs: number; maxMs: number }): Backoff {
  let delayMs = minMs;
  const nextMs = () => {
    const ms = delayMs;
    delayMs = Math.min(delayMs * 2, maxMs);
    return ms;
  };
  return {
    nextMs,
    wait: () => sleep(nextMs()),
    reset: () => {
      delayMs = minMs;
    },
  };
}
