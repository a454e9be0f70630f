import type { Load } from "./load.ts";

/** Tells readers of events when to read again. A wake-up has no content: the table is the truth. */
export interface EventSignal {
  /** Turns wake-ups on while any name wants them. Otherwise no channel and no timer is open. */
  want: (name: string, isWanted: boolean) => void;
  /**
   * Calls `onWake` soon after events were committed, and at least once a second, while any name
   * wants it. While notifications do not arrive, calls it ten times a second. Returns a function
   * that ends this.
   */
  subscribe: (onWake: () => void) => () => void;
  /** Wakes all subscribers again soon, for events that were committed but cannot be read yet. */
  wakeSoon: () => void;
}

/** Readers are woken no more often than this, and read more events at a time instead. */
const WAKE_EVERY_MS = { usual: 40, underLoad: 200 } as const;
const TICK_MS = 100;
const CURRENT_TICKS = 10;
const SOON_MS = 25;

/** `areCurrent` opens the channel of the notifications, and tells whether they arrive. */
export function openEventSignal(areCurrent: () => boolean, load: Load) {
  const wanted = new Set<string>();
  const subscribers = new Set<() => void>();
  let timer: ReturnType<typeof setInterval> | undefined;
  let soon: ReturnType<typeof setTimeout> | undefined;
  let ticks = 0;
  let wokenAt = 0;

  const wake = () => {
    soon = undefined;
    wokenAt = performance.now();
    for (const onWake of subscribers) onWake();
  };
  const wakeIn = (ms: number) => {
    if (wanted.size > 0) soon ??= setTimeout(wake, ms).unref();
  };
  /** At once, or when the previous wake is long enough ago. */
  const notify = () => {
    const everyMs = load.isHigh() ? WAKE_EVERY_MS.underLoad : WAKE_EVERY_MS.usual;
    wakeIn(Math.max(0, wokenAt + everyMs - performance.now()));
  };
  const tick = () => {
    ticks += 1;
    if (!areCurrent() || ticks % CURRENT_TICKS === 0) notify();
  };
  const stop = () => {
    clearInterval(timer);
    clearTimeout(soon);
    timer = undefined;
    soon = undefined;
  };
  const signal: EventSignal = {
    want: (name, isWanted) => {
      const before = wanted.size > 0;
      if (isWanted) wanted.add(name);
      else wanted.delete(name);
      const isNeeded = wanted.size > 0;
      if (isNeeded === before) return;
      if (isNeeded) timer = setInterval(tick, TICK_MS).unref();
      else stop();
    },
    subscribe: (onWake) => {
      subscribers.add(onWake);
      return () => void subscribers.delete(onWake);
    },
    wakeSoon: () => wakeIn(SOON_MS),
  };
  return { ...signal, notify, stop };
}
