import type { Load } from "./load.ts";

/** Limits how often work begins under load. */
export interface Throttle {
  /**
   * Resolves when work of `key` may begin: at once, unless the load is high or earlier work waits.
   * Never rejects.
   */
  wait: (key: string) => Promise<void>;
  /** Resolves all calls of `wait` at once, also later ones, so that a shutdown does not wait. */
  end: () => void;
}

/**
 * Under load, at most `count` calls resolve every `everyMs`. They are dealt out one by one to the
 * keys, until each has as many as it can use, judged by its calls that wait and by the interval
 * before. A share that is not used is lost.
 */
export function openThrottle(
  load: Load,
  { count, everyMs }: { count: number; everyMs: number },
): Throttle {
  const waiting = new Map<string, (() => void)[]>();
  /** How many more calls may resolve in this interval: of each key, and of any key. */
  let shares = new Map<string, number>();
  let spare = 0;
  /** How many calls of each key have resolved in this interval. */
  const used = new Map<string, number>();
  let timer: ReturnType<typeof setInterval> | undefined;
  let hasEnded = false;

  const consume = (key: string): boolean => {
    const share = shares.get(key) ?? 0;
    if (share + spare === 0) return false;
    if (share > 0) shares.set(key, share - 1);
    else spare -= 1;
    used.set(key, (used.get(key) ?? 0) + 1);
    return true;
  };
  /** Keys without a share keep their place in the map; those that want more go to its end. */
  const resolveWaiting = (key: string) => {
    const callbacks = waiting.get(key) ?? [];
    waiting.delete(key);
    while (callbacks.length > 0 && consume(key)) callbacks.shift()?.();
    if (callbacks.length > 0) waiting.set(key, callbacks);
  };
  /** Work that does not wait now may do so soon. Work that waits and got all can use more. */
  const wantOf = (key: string): number => {
    const before = used.get(key) ?? 0;
    const now = waiting.get(key)?.length ?? 0;
    return now === 0 ? before : Math.max(now, 2 * before);
  };
  const stop = () => {
    clearInterval(timer);
    timer = undefined;
    shares.clear();
    used.clear();
    const callbacks = [...waiting.values()].flat();
    waiting.clear();
    for (const begin of callbacks) begin();
  };
  const beginInterval = () => {
    const keys = [...new Set([...waiting.keys(), ...used.keys()])];
    if (keys.length === 0 || !load.isHigh()) return stop();
    const wants = new Map(keys.map((key) => [key, wantOf(key)]));
    used.clear();
    spare = 0;
    shares = deal(count, wants);
    for (const key of [...shares.keys()]) resolveWaiting(key);
    spare = count - sumOf(shares) - sumOf(used);
  };

  return {
    wait: async (key) => {
      if (hasEnded || (!load.isHigh() && waiting.size === 0)) return;
      if (!timer) spare = count;
      timer ??= setInterval(beginInterval, everyMs).unref();
      if (consume(key)) return;
      await new Promise<void>((begin) => {
        waiting.set(key, [...(waiting.get(key) ?? []), begin]);
      });
    },
    end: () => {
      hasEnded = true;
      stop();
    },
  };
}

/** Deals `count` out one by one, in the order of `wants`, until each key has what it wants. */
function deal(count: number, wants: Map<string, number>): Map<string, number> {
  const shares = new Map<string, number>();
  let left = count;
  let keys = [...wants.keys()];
  while (left > 0 && keys.length > 0) {
    const next = keys.slice(0, left);
    for (const key of next) shares.set(key, (shares.get(key) ?? 0) + 1);
    left -= next.length;
    keys = next.filter((key) => (shares.get(key) ?? 0) < (wants.get(key) ?? 0));
  }
  return shares;
}

const sumOf = (counts: Map<string, number>): number =>
  [...counts.values()].reduce((sum, each) => sum + each, 0);
