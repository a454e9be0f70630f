import type { Load } from "../kit/load.ts";

/** Above this, a flood has left enough garbage to justify a pause. Idle is a third of it. */
const BYTES_MAX = 170_000_000;
const CHECK_EVERY_MS = 500;
const CHECK_EVERY_MAX_MS = 60_000;
/** The part of memory that a collection must free to be worth its pause. */
const FREED_MIN = 0.05;

/**
 * Once after the start, while no request comes, releases the code and the data that only the start
 * needed: some 4 MB. Collects garbage when memory grows beyond what a small machine can spare: the
 * engine waits longer the more memory the machine has. If a collection frees little, checks become
 * less frequent. If memory cannot be read, for example without /proc, calls `onFailure` once and
 * keeps checking. Returns a function that stops it.
 */
export function watchMemory(load: Load, onFailure: (error: unknown) => void): () => void {
  let isStartOver = false;
  let waitMs = CHECK_EVERY_MS;
  let isFailing = false;
  let timer: ReturnType<typeof setTimeout>;
  const releaseStart = () => {
    if (isStartOver || !load.isIdle()) return;
    isStartOver = true;
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
      releaseStart();
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
