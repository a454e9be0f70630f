/** From here on the garbage of a flood is worth a pause; an idle process has a third of it. */
const BYTES_MAX = 170_000_000;
const LOOK_EVERY_MS = 500;
const LOOK_SELDOM_MS = 60_000;
/** What a collection must give back to have been worth it. */
const WORTH = 0.05;

/**
 * Collects garbage where memory grows beyond what a small machine has to spare: the engine waits
 * the longer the more memory the machine has, and falls behind when every core is busy. Where it
 * helps little, because what is there is needed, it looks ever more seldom. If memory cannot be
 * read, such as without /proc or a free file descriptor, it calls `onFailure` once and goes on
 * looking. Returns a function that stops it.
 */
export function watchMemory(onFailure: (error: unknown) => void): () => void {
  let waitMs = LOOK_EVERY_MS;
  let isFailing = false;
  let timer: ReturnType<typeof setTimeout>;
  const collect = () => {
    const before = process.memoryUsage.rss();
    if (before > BYTES_MAX) Bun.gc(true);
    const isWorthIt = process.memoryUsage.rss() < before * (1 - WORTH);
    waitMs =
      before <= BYTES_MAX || isWorthIt ? LOOK_EVERY_MS : Math.min(2 * waitMs, LOOK_SELDOM_MS);
  };
  const look = () => {
    try {
      collect();
      isFailing = false;
    } catch (error) {
      if (!isFailing) onFailure(error);
      isFailing = true;
    }
    timer = setTimeout(look, waitMs);
  };
  timer = setTimeout(look, waitMs);
  return () => clearTimeout(timer);
}
