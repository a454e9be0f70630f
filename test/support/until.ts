import { setTimeout as sleep } from "node:timers/promises";

const CHECK_EVERY_MS = 10;

/** Waits until a condition holds, and returns how long that took. Throws after `maxMs`. */
export async function until(
  isSo: () => boolean | Promise<boolean>,
  maxMs = 20_000,
): Promise<number> {
  const from = performance.now();
  while (!(await isSo())) {
    if (performance.now() - from > maxMs) throw new Error(`not within ${maxMs} ms: ${isSo}`);
    await sleep(CHECK_EVERY_MS);
  }
  return performance.now() - from;
}
