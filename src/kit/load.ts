/** Tells how busy this process is with requests, so that background work can give way to them. */
export interface Load {
  /** Called when a request begins, with how many are in flight. */
  requestStarted: (inFlight: number) => void;
  /** Whether eight requests were in flight at once in the last 250 ms. */
  isHigh: () => boolean;
  /** Whether no request has begun in the last 250 ms. One may still be in flight. */
  isIdle: () => boolean;
}

const HIGH_REQUESTS = 8;
/** Bridges the pauses between requests. */
const RECENT_MS = 250;

export function openLoad(): Load {
  let requestAt = Number.NEGATIVE_INFINITY;
  let highAt = Number.NEGATIVE_INFINITY;
  const isRecent = (time: number) => performance.now() - time < RECENT_MS;
  return {
    requestStarted: (inFlight) => {
      requestAt = performance.now();
      if (inFlight >= HIGH_REQUESTS) highAt = requestAt;
    },
    isHigh: () => isRecent(highAt),
    isIdle: () => !isRecent(requestAt),
  };
}
