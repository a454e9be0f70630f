/** Tells how busy this process is with requests, so that background work can give way to them. */
export interface Load {
  /** Called when a request begins (1) or ends (-1). */
  addRequest: (change: 1 | -1) => void;
  /** Called when a webhook delivery begins (1) or ends (-1). */
  addDelivery: (change: 1 | -1) => void;
  /**
   * Whether four requests for each core, at least eight, are in flight, or were in the last 250 ms.
   * As many requests as there are webhook deliveries do not count: receivers may call the API
   * before they answer.
   */
  isHigh: () => boolean;
  /** Whether no request is in flight, or was in the last 250 ms. */
  isIdle: () => boolean;
}

const HIGH_FOR_EACH_CORE = 4;
const HIGH_MIN = 8;
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
  const isHighNow = () => requests - deliveries >= highRequests;
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
 * Returns a function to await before each piece of work. Under load, it lets `count` of them begin
 * in each interval, in the order of the calls; otherwise all at once.
 */
export function openPace(
  load: Load,
  { count, everyMs }: { count: number; everyMs: number },
): () => Promise<void> {
  const waiting: (() => void)[] = [];
  /** How many more may begin in this interval. */
  let left = count;
  let timer: ReturnType<typeof setInterval> | undefined;
  const beginInterval = () => {
    const isUnused = left === count && waiting.length === 0;
    const isOver = isUnused || !load.isHigh();
    const next = waiting.splice(0, isOver ? waiting.length : count);
    left = isOver ? count : count - next.length;
    for (const begin of next) begin();
    if (!isOver) return;
    clearInterval(timer);
    timer = undefined;
  };
  return async () => {
    if (!load.isHigh() && waiting.length === 0) return;
    timer ??= setInterval(beginInterval, everyMs);
    if (left > 0 && waiting.length === 0) left -= 1;
    else await new Promise<void>((begin) => waiting.push(begin));
  };
}
