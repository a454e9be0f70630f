/** Tells how busy this process is with requests, so that background work can give way to them. */
export interface Load {
  /** Called when a request begins (1) or ends (-1). */
  addRequest: (change: 1 | -1) => void;
  /** Called when a webhook delivery begins (1) or ends (-1). */
  addDelivery: (change: 1 | -1) => void;
  /**
   * Whether four requests for each core, at least eight, are in flight, or were in the last 250 ms.
   * As many requests as there are webhook deliveries, at most 16, do not count: receivers may call
   * the API before they answer.
   */
  isHigh: () => boolean;
  /** Whether no request is in flight, or was in the last 250 ms. */
  isIdle: () => boolean;
}

const HIGH_FOR_EACH_CORE = 4;
const HIGH_MIN = 8;
/** More would let slow receivers hide the load. */
const CALLS_OF_RECEIVERS_MAX = 16;
/** Bridges the pauses between requests. */
const RECENT_MS = 250;

/** `cores`: how many this process may use. */
export function openLoad(cores: number): Load {
  const highRequests = Math.max(HIGH_MIN, HIGH_FOR_EACH_CORE * cores);
  let requests = 0;
  let deliveries = 0;
  let busyAt = Number.NEGATIVE_INFINITY;
  let highAt = Number.NEGATIVE_INFINITY;
  const isRecent = (time: number) => performance.now() - time < RECENT_MS;
  const isHighNow = () => requests - Math.min(deliveries, CALLS_OF_RECEIVERS_MAX) >= highRequests;
  return {
    addRequest: (change) => {
      requests += change;
      busyAt = performance.now();
      if (isHighNow()) highAt = busyAt;
    },
    addDelivery: (change) => {
      deliveries += change;
    },
    isHigh: () => isHighNow() || isRecent(highAt),
    isIdle: () => requests === 0 && !isRecent(busyAt),
  };
}

/**
 * Returns a function to await before each piece of work. Under load, at most `count` pieces begin
 * in each interval, and all who want to work have equal shares. Otherwise, all begin at once.
 */
export function openPace(
  load: Load,
  { count, everyMs }: { count: number; everyMs: number },
): (who: string) => Promise<void> {
  const waiting = new Map<string, (() => void)[]>();
  /** What each may still begin in this interval, and who has begun something. */
  const shares = new Map<string, number>();
  const active = new Set<string>();
  let timer: ReturnType<typeof setInterval> | undefined;
  const take = (who: string): boolean => {
    const share = shares.get(who) ?? 0;
    if (share === 0) return false;
    shares.set(who, share - 1);
    active.add(who);
    return true;
  };
  /** Whoever still waits afterwards is the last one in the next interval. */
  const serve = (who: string) => {
    const works = waiting.get(who) ?? [];
    waiting.delete(who);
    while (works.length > 0 && take(who)) works.shift()?.();
    if (works.length > 0) waiting.set(who, works);
  };
  const stop = () => {
    clearInterval(timer);
    timer = undefined;
    const works = [...waiting.values()].flat();
    waiting.clear();
    for (const begin of works) begin();
  };
  const beginInterval = () => {
    const everyone = [...new Set([...waiting.keys(), ...active])];
    active.clear();
    shares.clear();
    if (everyone.length === 0 || !load.isHigh()) return stop();
    const share = Math.max(1, Math.floor(count / everyone.length));
    for (const who of everyone.slice(0, count)) {
      shares.set(who, share);
      serve(who);
    }
  };
  return async (who) => {
    if (!load.isHigh() && waiting.size === 0) return;
    timer ??= setInterval(beginInterval, everyMs).unref();
    if (take(who)) return;
    await new Promise<void>((begin) => {
      waiting.set(who, [...(waiting.get(who) ?? []), begin]);
    });
  };
}
