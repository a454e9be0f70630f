import { availableParallelism } from "node:os";
import { Problem } from "../kit/problem.ts";
import { noTracing, type Tracing } from "../kit/tracing.ts";
import type { HashCost } from "./stored-hash.ts";

/** How many hashes run at once, how many wait, and how long one waits at most. */
export interface HashingBounds {
  atOnce: number;
  queueMax: number;
  waitMaxMs: number;
}

/** Leaves one core to requests that hash nothing. The queue can be served within `waitMaxMs`. */
export function boundsFor({ workers }: { workers: number }): HashingBounds {
  const atOnce = Math.max(1, Math.floor((availableParallelism() - 1) / workers));
  return { atOnce, queueMax: 64 * atOnce, waitMaxMs: 2_000 };
}

interface HashingOptions extends HashingBounds {
  cost: HashCost;
  tracing?: Tracing;
}

/** The semaphore of password hashing. */
export interface Hashing {
  cost: HashCost;
  /** Runs `work` when a slot is free. Throws `busy` if the queue is full or the wait too long. */
  run: <T>(work: () => Promise<T>) => Promise<T>;
  /** Throws `busy` if the queue is full. Call it before the first statement of a request. */
  refuseIfFull: () => void;
  /** `done` and `refused` count since the start. */
  counts: () => Record<"running" | "waiting" | "done" | "refused", number>;
}

/**
 * Keeps a flood of sign-ins from using every core and all memory (CWE-400): each hash takes 19 MiB
 * and some 30 ms. A client that waits too long has probably given up.
 */
export function openHashing({
  atOnce,
  queueMax,
  waitMaxMs,
  cost,
  tracing = noTracing,
}: HashingOptions): Hashing {
  const queue: Waiter[] = [];
  let running = 0;
  let done = 0;
  let refused = 0;

  const busy = () => {
    refused += 1;
    return new Problem("busy");
  };
  const refuseIfFull = () => {
    if (queue.length >= queueMax) throw busy();
  };

  const wait = () =>
    new Promise<void>((resolve, reject) => {
      refuseIfFull();
      const giveUp = () => {
        queue.splice(queue.indexOf(waiter), 1);
        reject(busy());
      };
      const waiter: Waiter = { start: resolve, timer: setTimeout(giveUp, waitMaxMs) };
      queue.push(waiter);
    });

  /** Hands the slot to the next waiter, or frees it. */
  const release = () => {
    const next = queue.shift();
    if (!next) {
      running -= 1;
      return;
    }
    clearTimeout(next.timer);
    next.start();
  };

  const run = async <T>(work: () => Promise<T>): Promise<T> => {
    if (running < atOnce) running += 1;
    else await tracing.within({ name: "wait for hashing" }, wait);
    done += 1;
    try {
      return await tracing.within({ name: "hash password" }, work);
    } finally {
      release();
    }
  };
  const counts = () => ({ running, waiting: queue.length, done, refused });
  return { cost, run, refuseIfFull, counts };
}

interface Waiter {
  start: () => void;
  timer: ReturnType<typeof setTimeout>;
}
