import { Problem } from "../kit/problem.ts";
import { type Tracing, untraced } from "../kit/tracing.ts";
import type { HashCost } from "./stored-hash.ts";

/** Bounds of what may hash passwords: how many at once, how many wait, and how long one waits at most. */
export interface GateOptions {
  atOnce: number;
  queueMax: number;
  waitMaxMs: number;
  cost: HashCost;
  tracing?: Tracing;
}

export interface HashingGate {
  /** What new hashes cost. */
  cost: HashCost;
  /** Does `work` when its turn comes. Throws `busy` where the queue is full, or the turn does not come in time. */
  pass: <T>(work: () => Promise<T>) => Promise<T>;
  /** Throws `busy` where the queue is full: before a request that will hash costs the database anything. */
  knock: () => void;
  /** How many hash now and how many wait; and since the start, how many had their turn, and how many were turned away. */
  counts: () => Record<"running" | "waiting" | "passed" | "refused", number>;
}

/**
 * Keeps a flood of sign-ins from taking every core and all memory (CWE-400): each hash takes 19 MiB and some 30 ms of one
 * core. Who comes first is served first; nobody is served who has waited so long that the client has probably gone.
 */
export function openHashingGate({
  atOnce,
  queueMax,
  waitMaxMs,
  cost,
  tracing = untraced,
}: GateOptions): HashingGate {
  const queue: Turn[] = [];
  let running = 0;
  let passed = 0;
  let refused = 0;

  const busy = () => {
    refused += 1;
    return new Problem("busy");
  };
  const knock = () => {
    if (queue.length >= queueMax) throw busy();
  };

  const turn = () =>
    new Promise<void>((resolve, reject) => {
      knock();
      const leave = () => {
        queue.splice(queue.indexOf(mine), 1);
        reject(busy());
      };
      const mine: Turn = { take: resolve, timer: setTimeout(leave, waitMaxMs) };
      queue.push(mine);
    });

  /** A slot is handed to the next in the queue, or given back. */
  const leave = () => {
    const next = queue.shift();
    if (!next) {
      running -= 1;
      return;
    }
    clearTimeout(next.timer);
    next.take();
  };

  const pass = async <T>(work: () => Promise<T>): Promise<T> => {
    if (running < atOnce) running += 1;
    else await tracing.within({ name: "wait for hashing" }, turn);
    passed += 1;
    try {
      return await tracing.within({ name: "hash password" }, work);
    } finally {
      leave();
    }
  };
  return { cost, pass, knock, counts: () => ({ running, waiting: queue.length, passed, refused }) };
}

interface Turn {
  take: () => void;
  timer: ReturnType<typeof setTimeout>;
}
