import type { Load } from "./load.ts";

/** Limits how much background work begins under load. */
export interface Turns {
  /** Resolves when a piece of work of `group` may begin: at once, unless the load is high. */
  next: (group: string) => Promise<void>;
  /** From now on, all work begins at once: a shutdown must not wait for turns. */
  end: () => void;
}

/** Under load, `count` pieces begin in each interval at most, and groups have equal shares. */
export function openTurns(
  load: Load,
  { count, everyMs }: { count: number; everyMs: number },
): Turns {
  const waiting = new Map<string, (() => void)[]>();
  /** How many more pieces of each group may begin in this interval. */
  const left = new Map<string, number>();
  /** The groups that began a piece in this interval. They may soon want the next one. */
  const active = new Set<string>();
  let timer: ReturnType<typeof setInterval> | undefined;
  let hasEnded = false;

  const take = (group: string): boolean => {
    const share = left.get(group) ?? 0;
    if (share === 0) return false;
    left.set(group, share - 1);
    active.add(group);
    return true;
  };
  /** Groups that get no turn stay first in line; those that need more go to its end. */
  const beginWaiting = (group: string) => {
    const begins = waiting.get(group) ?? [];
    waiting.delete(group);
    while (begins.length > 0 && take(group)) begins.shift()?.();
    if (begins.length > 0) waiting.set(group, begins);
  };
  const stop = () => {
    clearInterval(timer);
    timer = undefined;
    const begins = [...waiting.values()].flat();
    waiting.clear();
    for (const begin of begins) begin();
  };
  const beginInterval = () => {
    const groups = [...new Set([...waiting.keys(), ...active])];
    active.clear();
    left.clear();
    if (groups.length === 0 || !load.isHigh()) return stop();
    const share = Math.max(1, Math.floor(count / groups.length));
    for (const group of groups.slice(0, count)) {
      left.set(group, share);
      beginWaiting(group);
    }
  };

  return {
    next: async (group) => {
      if (hasEnded || (!load.isHigh() && waiting.size === 0)) return;
      timer ??= setInterval(beginInterval, everyMs).unref();
      if (take(group)) return;
      await new Promise<void>((begin) => {
        waiting.set(group, [...(waiting.get(group) ?? []), begin]);
      });
    },
    end: () => {
      hasEnded = true;
      stop();
    },
  };
}
