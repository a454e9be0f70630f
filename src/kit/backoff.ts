import { setTimeout as sleep } from "node:timers/promises";

export interface Backoff {
  /** The next delay: twice the previous one, at most `maxMs`. */
  nextMs: () => number;
  /** Waits for `nextMs`. */
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
