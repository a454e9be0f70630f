/** Rejects after `ms`. A result that arrives later goes to `discard`. */
export function withTimeout<T>(
  ms: number,
  work: Promise<T>,
  discard?: (late: T) => void,
): Promise<T> {
  return new Promise((resolve, reject) => {
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      reject(timedOut());
    }, ms);
    work
      .then((result) => (isLate ? discard?.(result) : resolve(result)), reject)
      .finally(() => clearTimeout(timer));
  });
}

/** What a socket reports that got no answer. */
export const timedOut = (): Error => Object.assign(new Error("Timed out"), { code: "ETIMEDOUT" });
