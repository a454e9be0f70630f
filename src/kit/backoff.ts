import { setTimeout as sleep } from "node:timers/promises";

export interface Backoff {
  /** Twice as long as the time before, up to the most. */
  wait: () => Promise<void>;
  reset: () => void;
}

export function openBackoff({ minMs, maxMs }: { minMs: number; maxMs: number }): Backoff {
  let delayMs = minMs;
  return {
    wait: async () => {
      await sleep(delayMs);
      delayMs = Math.min(delayMs * 2, maxMs);
    },
    reset: () => {
      delayMs = minMs;
    },
  };
}
