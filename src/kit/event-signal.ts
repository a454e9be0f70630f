import type { Load } from "./load.ts";

/** Tells readers of events when to read again. A wake-up has no content: the table is the truth. */
export interface EventSignal {
  /** Wake-ups are on while at least one reader is active. Otherwise no channel or timer is open. */
  setActive: (reader: string, isActive: boolean) => void;
  /**
   * Calls `onWake` soon after events were committed, and about once a second, while a reader is
   * active. While notifications do not arrive, calls it ten times a second, or five times under
   * load. Returns a function that ends this.
   */
  subscribe: (onWake: () => void) => () => void;
  /** Wakes all subscribers again soon, for events that were committed but cannot be read yet. */
  retrySoon: () => void;
}

/** Readers are woken no more often than this, and then read several events at once. */
const WAKE_EVERY_MS = { usual: 40, underLoad: 200 } as const;
/** Without notifications, readers must ask more often. */
const POLL_EVERY_MS = { notified: 1_000, notNotified: 100 } as const;
const CHECK_EVERY_MS = 100;
const RETRY_MS = 25;

/** `areCurrent` opens the channel of the notifications, and tells whether they arrive. */
export function openEventSignal(areCurrent: () => boolean, load: Load) {
  const active = new Set<string>();
  const subscribers = new Set<() => void>();
  let checking: ReturnType<typeof setInterval> | undefined;
  let waking: ReturnType<typeof setTimeout> | undefined;
  let wokenAt = 0;

  const wake = () => {
    waking = undefined;
    wokenAt = performance.now();
    for (const onWake of subscribers) onWake();
  };
  const wakeIn = (ms: number) => {
    if (active.size > 0) waking ??= setTimeout(wake, ms).unref();
  };
  /** Wakes at once, or when the shortest time since the last wake-up has passed. */
  const notify = () => {
    const everyMs = load.isHigh() ? WAKE_EVERY_MS.underLoad : WAKE_EVERY_MS.usual;
    wakeIn(Math.max(0, wokenAt + everyMs - performance.now()));
  };
  const check = () => {
    const everyMs = areCurrent() ? POLL_EVERY_MS.notified : POLL_EVERY_MS.notNotified;
    if (performance.now() - wokenAt >= everyMs) notify();
  };
  const stop = () => {
    clearInterval(checking);
    clearTimeout(waking);
    checking = undefined;
    waking = undefined;
  };
  const signal: EventSignal = {
    setActive: (reader, isActive) => {
      const wasOn = active.size > 0;
      if (isActive) active.add(reader);
      else active.delete(reader);
      const isOn = active.size > 0;
      if (isOn === wasOn) return;
      if (isOn) checking = setInterval(check, CHECK_EVERY_MS).unref();
      else stop();
    },
    subscribe: (onWake) => {
      subscribers.add(onWake);
      return () => void subscribers.delete(onWake);
    },
    retrySoon: () => wakeIn(load.isHigh() ? WAKE_EVERY_MS.underLoad : RETRY_MS),
  };
  return { ...signal, notify, stop };
}
