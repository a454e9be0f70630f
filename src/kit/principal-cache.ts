import QuickLRU from "quick-lru";

/** The time span of which every notification has arrived, in ms of `performance.now()`. */
export interface ReceivedSpan {
  /** No notification is missing from this time on. Infinity while nothing listens. */
  since: number;
  /** Every change that was committed before this time is known. */
  upTo: number;
}

export interface PrincipalKey {
  userId: string;
  sessionId: string;
}

/** Caches the principals behind access tokens for as long as they cannot have changed. */
export interface PrincipalCache<P> {
  /** Returns the cached principal, or the result of `read`, which it caches. */
  find: (key: PrincipalKey, read: () => Promise<P | undefined>) => Promise<P | undefined>;
  /** Invalidates all entries of a user that changed, and the reads in progress. */
  forget: (userId: string) => void;
  forgetAll: () => void;
  /** Calls `onChange` when a user changed. Undefined: any user may have. Returns how to stop it. */
  subscribe: (onChange: (userId: string | undefined) => void) => () => void;
  /** How far change notifications are known. They arrive while this or `find` is called often. */
  received: () => ReceivedSpan;
  /** `kept` is the number of entries. `hits` and `misses` count since the start. */
  counts: () => Record<"kept" | "hits" | "misses", number>;
}

export interface PrincipalCacheOptions {
  /** The maximum number of entries. 0 turns the cache off. */
  size: number;
  received: () => ReceivedSpan;
}

/** How long a principal may be used that was read before a change. */
export const STALE_MAX_MS = 800;
const BUCKETS = 1 << 16;

interface Entry<P> {
  principal: P;
  userId: string;
  /** Taken before the read, as is `generation`, so that a change during the read counts. */
  readAt: number;
  generation: number | undefined;
}

/**
 * A bounded cache that never serves a stale entry for longer than STALE_MAX_MS, even if change
 * notifications are late or missing. An entry is fresh in two cases: it was read within
 * STALE_MAX_MS, or every change notification between its read and STALE_MAX_MS ago has arrived.
 * Users share generation counters, so that `forget` needs no search for the user's sessions. A
 * change of one user therefore also invalidates a few others.
 */
export function openPrincipalCache<P>({
  size,
  received,
}: PrincipalCacheOptions): PrincipalCache<P> {
  const generations = new Uint32Array(BUCKETS);
  const subscribers = new Set<(userId: string | undefined) => void>();
  // QuickLRU keeps up to twice its maxSize.
  const entries = new QuickLRU<string, Entry<P>>({ maxSize: Math.max(1, Math.floor(size / 2)) });

  let hits = 0;
  let misses = 0;

  const isFresh = (entry: Entry<P>, now: number) => {
    if (now - entry.readAt <= STALE_MAX_MS) return true;
    const { since, upTo } = received();
    return entry.readAt >= since && now - upTo <= STALE_MAX_MS;
  };

  const find: PrincipalCache<P>["find"] = async ({ userId, sessionId }, read) => {
    const bucket = bucketOf(userId);
    const now = performance.now();
    const known = entries.get(sessionId);
    if (
      known?.userId === userId &&
      known.generation === generations[bucket] &&
      isFresh(known, now)
    ) {
      hits += 1;
      return known.principal;
    }
    misses += 1;
    // Keeps the heartbeats going.
    received();
    const generation = generations[bucket];
    const principal = await read();
    if (principal) entries.set(sessionId, { principal, userId, readAt: now, generation });
    return principal;
  };
  const invalidate = (bucket: number) => {
    generations[bucket] = (generations[bucket] ?? 0) + 1;
  };
  return {
    counts: () => ({ kept: entries.size, hits, misses }),
    find: size === 0 ? (_, read) => read() : find,
    forget: (userId) => {
      invalidate(bucketOf(userId));
      for (const notify of subscribers) notify(userId);
    },
    forgetAll: () => {
      entries.clear();
      for (let bucket = 0; bucket < BUCKETS; bucket += 1) invalidate(bucket);
      for (const notify of subscribers) notify(undefined);
    },
    subscribe: (onChange) => {
      subscribers.add(onChange);
      return () => void subscribers.delete(onChange);
    },
    received,
  };
}

/** Uses the end of a UUIDv7, which is random. */
const bucketOf = (userId: string) => Number.parseInt(userId.slice(-4), 16) & (BUCKETS - 1);
