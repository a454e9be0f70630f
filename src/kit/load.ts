/** Tells how busy this process is with requests, so that background work can give way to them. */
export interface Load {
  /** Called when a request begins (1) or ends (-1). */
  addRequest: (change: 1 | -1) => void;
  /** Called when a webhook delivery begins (1) or ends (-1). */
  addDelivery: (change: 1 | -1) => void;
  /**
   * Whether four requests for each core, at least eight, are in flight, or were in the last 250 ms.
   * One request for each webhook delivery in flight, up to 16, does not count: receivers may call
   * the API before they answer.
   */
  isHigh: () => boolean;
  /** Whether no request is in flight, or was in the last 250 ms. */
  isIdle: () => boolean;
}

const HIGH_FOR_EACH_CORE = 4;
const HIGH_MIN = 8;
/** Otherwise, many deliveries to slow receivers would hide as many requests. */
const UNCOUNTED_REQUESTS_MAX = 16;
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
  const isHighNow = () => requests - Math.min(deliveries, UNCOUNTED_REQUESTS_MAX) >= highRequests;
  return {
    addRequest: (change) => {
      busyAt = performance.now();
      if (isHighNow()) highAt = busyAt;
      requests += change;
    },
    addDelivery: (change) => {
      if (isHighNow()) highAt = performance.now();
      deliveries += change;
    },
    isHigh: () => isHighNow() || isRecent(highAt),
    isIdle: () => requests === 0 && !isRecent(busyAt),
  };
}
