/** Whether this process has many requests in flight. Work that can wait is slower meanwhile. */
export interface Load {
  /** Called when a request begins, with how many are in flight. */
  noteRequests: (inFlight: number) => void;
  isHigh: () => boolean;
}

const HIGH_REQUESTS = 8;
/** Longer than the pauses between requests under constant load. */
const HIGH_FOR_MS = 250;

export function openLoad(): Load {
  let highUntil = 0;
  return {
    noteRequests: (inFlight) => {
      if (inFlight >= HIGH_REQUESTS) highUntil = performance.now() + HIGH_FOR_MS;
    },
    isHigh: () => performance.now() < highUntil,
  };
}
