import type { Load } from "../kit/load.ts";

/** Above this, garbage is worth the pause of a collection. An idle process has less than half. */
const BYTES_MAX = 170_000_000;
const CHECK_EVERY_MS = 500;
const CHECK_EVERY_MAX_MS = 60_000;
/** The part of memory that a collection must free to be worth its pause. */
const FREED_MIN = 0.05;

/**
 * Collects garbage when memory grows beyond what a small machine can spare: the engine waits longer
 * the more memory the machine has. If a collection frees little, checks become less frequent. Once,
 * when no request comes, also frees what only the start needed: some 4 MB of code and data. If
 * memory cannot be read, for example without /proc, calls `onFailure` once and keeps checking.
 * Returns a function that stops the checks.
 */
export function watchMemory(load: Load, onFailure: (error: unknown) => void): () => void {
  let hasShrunk = false;
  let waitMs = CHECK_EVERY_MS;
  let isFailing = false;
  let timer: ReturnType<typeof setTimeout>;
  const shrinkOnce = () => {
    if (hasShrunk || !load.isIdle()) return;
    hasShrunk = true;
    Bun.shrink();
  };
  const collect = () => {
    const before = process.memoryUsage.rss();
    if (before > BYTES_MAX) Bun.gc(true);
    const isWorthIt = process.memoryUsage.rss() < before * (1 - FREED_MIN);
    waitMs =
      before <= BYTES_MAX || isWorthIt ? CHECK_EVERY_MS : Math.min(2 * waitMs, CHECK_EVERY_MAX_MS);
  };
  const check = () => {
    try {
      shrinkOnce();
      collect();
      isFailing = false;
    } catch (error) {
      if (!isFailing) onFailure(error);
      isFailing = true;
    }
    timer = setTimeout(check, waitMs);
  };
  timer = setTimeout(check, waitMs);
  return () => clearTimeout(timer);
}
