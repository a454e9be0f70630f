import { setTimeout as sleep } from "node:timers/promises";

export function openBackoff({ minMs, maxMs }: { minMs: number; maxMs: number }) {
  let delayMs = minMs;
  /** The next delay: twice the previous one, at most `maxMs`. */
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
