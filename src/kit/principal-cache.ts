import QuickLRU from "quick-lru";

/** How far the news of changed accounts has been heard; in milliseconds of `performance.now()`. */
export interface Heard {
  /** From when on nothing was missed: Infinity while nobody listens. */
  since: number;
  /** Until when everything that was committed is known. */
  upTo: number;
}

export interface PrincipalKey {
  userId: string;
  sessionId: string;
}

/** Who is behind an access token, remembered for as long as nothing can have happened to them. */
export interface PrincipalCache<P> {
  /** What is known, or what `read` answers, which is then known. */
  find: (key: PrincipalKey, read: () => Promise<P | undefined>) => Promise<P | undefined>;
  /** Something happened to this account: what is known of it, and what is just being read, counts no more. */
  forget: (userId: string) => void;
  forgetAll: () => void;
  /** How many are remembered; and since the start, how many were found so, and how many were read. */
  counts: () => Record<"kept" | "hits" | "misses", number>;
}

export interface PrincipalCacheOptions {
  /** How many principals are kept at most; 0 keeps none. */
  size: number;
  heard: () => Heard;
}

/** How long after a change what was read before it may still be served. */
const STALE_MAX_MS = 800;
const BUCKETS = 1 << 16;

interface Entry<P> {
  principal: P;
  userId: string;
  /** Taken before the read, as is `generation`: what happens during the read is not missed. */
  readAt: number;
  generation: number | undefined;
}

/**
 * A bounded cache that never serves for longer than STALE_MAX_MS what is no longer so, also when the news is late, cut off, or
 * silent: silence is not taken for health. An entry is good when it was read just now, or when everything that was
 * committed until just now has been heard since it was read. Accounts share counters, one to some of them: an account that
 * changes makes a few others be read again, and nothing has to be searched for.
 */
export function openPrincipalCache<P>({ size, heard }: PrincipalCacheOptions): PrincipalCache<P> {
  const generations = new Uint32Array(BUCKETS);
  // It keeps up to twice what it is asked to.
  const entries = new QuickLRU<string, Entry<P>>({ maxSize: Math.max(1, Math.floor(size / 2)) });

  let hits = 0;
  let misses = 0;

  const isGood = (entry: Entry<P>, now: number) => {
    if (now - entry.readAt <= STALE_MAX_MS) return true;
    const { since, upTo } = heard();
    return entry.readAt >= since && now - upTo <= STALE_MAX_MS;
  };

  const find: PrincipalCache<P>["find"] = async ({ userId, sessionId }, read) => {
    const bucket = bucketOf(userId);
    const now = performance.now();
    const known = entries.get(sessionId);
    if (
      known?.userId === userId &&
      known.generation === generations[bucket] &&
      isGood(known, now)
    ) {
      hits += 1;
      return known.principal;
    }
    misses += 1;
    heard();
    const generation = generations[bucket];
    const principal = await read();
    if (principal) entries.set(sessionId, { principal, userId, readAt: now, generation });
    return principal;
  };
  const next = (bucket: number) => {
    generations[bucket] = (generations[bucket] ?? 0) + 1;
  };
  return {
    counts: () => ({ kept: entries.size, hits, misses }),
    find: size === 0 ? (_, read) => read() : find,
    forget: (userId) => next(bucketOf(userId)),
    forgetAll: () => {
      entries.clear();
      for (let bucket = 0; bucket < BUCKETS; bucket += 1) next(bucket);
    },
  };
}

/** The end of a UUIDv7 is random. */
const bucketOf = (userId: string) => Number.parseInt(userId.slice(-4), 16) & (BUCKETS - 1);
