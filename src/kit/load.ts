/** How many requests this process serves. Work that can wait is slower while there are many. */
export interface Load {
  /** Called when a request begins, with how many are in flight. */
  noteRequests: (inFlight: number) => void;
  isHigh: () => boolean;
  /** Whether no request came lately. */
  isIdle: () => boolean;
}

const HIGH_REQUESTS = 8;
/** Longer than the pauses between requests under constant load. */
const LATELY_MS = 250;

export function openLoad(): Load {
  let requestAt = Number.NEGATIVE_INFINITY;
  let highAt = Number.NEGATIVE_INFINITY;
  const isLately = (time: number) => performance.now() - time < LATELY_MS;
  return {
    noteRequests: (inFlight) => {
      requestAt = performance.now();
      if (inFlight >= HIGH_REQUESTS) highAt = requestAt;
    },
    isHigh: () => isLately(highAt),
    isIdle: () => !isLately(requestAt),
  };
}
