import { type EventSignal, openEventSignal } from "../kit/event-signal.ts";
import type { Load } from "../kit/load.ts";
import { openPrincipalCache, type PrincipalCache } from "../kit/principal-cache.ts";
import { type ChangeListenerOptions, listenForChanges } from "./invalidation.ts";

type Options = Pick<ChangeListenerOptions, "place" | "pool" | "log"> & {
  cacheSize: number;
  load: Load;
};

/** Heartbeats come five times a second. */
const CURRENT_MAX_MS = 1_000;

/** Opens the principal cache, the event signal, and the notifications that drive both. */
export function openChanges<P>({ cacheSize, load, ...options }: Options): {
  principals: PrincipalCache<P>;
  eventSignal: EventSignal;
  closeChanges: () => Promise<void>;
} {
  const principals = openPrincipalCache<P>({
    size: cacheSize,
    received: () => listener.received(),
  });
  const signal = openEventSignal(() => {
    const { since, upTo } = listener.received();
    return Number.isFinite(since) && performance.now() - upTo <= CURRENT_MAX_MS;
  }, load);
  const listener = listenForChanges({
    ...options,
    onChange: (userId) => (userId ? principals.forget(userId) : principals.forgetAll()),
    onEvents: signal.notify,
  });
  const closeChanges = async () => {
    signal.stop();
    await listener.close();
  };
  return { principals, eventSignal: signal, closeChanges };
}
