import type { Subprocess } from "bun";
import { openBackoff } from "../kit/backoff.ts";
import { ownProgram } from "../kit/build.ts";
import { Exit } from "../kit/exit.ts";
import type { Log } from "../kit/log.ts";
import type { Snapshot } from "../kit/metrics.ts";
import { within } from "../kit/within.ts";
import {
  ALIVE_EVERY_MS,
  type FromWorker,
  type Handlers,
  type ToWorker,
  WORKER,
} from "./process-role.ts";
import { openReplies } from "./replies.ts";

/** The worker processes. Restarts them when they end. */
export interface Workers {
  /** Resolves when all serve. Throws an Exit if one ends before it serves. */
  start: (handlers: Handlers) => Promise<void>;
  send: (message: ToWorker) => void;
  /** The metrics of each, and the totals of those that have ended. */
  snapshots: () => Promise<Snapshot[]>;
  /** Resolves when all have exited after `stop`. Kills those that do not exit in time. */
  end: (delayMs: number) => Promise<void>;
}

interface Worker {
  child: Subprocess<"ignore", "inherit", "inherit">;
  isReady: boolean;
  lastMessageAt: number;
  /** Messages to send when it is ready. */
  queue: ToWorker[];
  latest: Snapshot;
}

interface Pool {
  workers: Set<Worker>;
  isEnding: boolean;
  ended: Promise<Snapshot>;
  replies: ReturnType<typeof openReplies<Snapshot>>;
}

const restartDelays = { minMs: 50, maxMs: 5_000 };
/** A worker that lived this long has started properly: the restart backoff resets. */
const STABLE_MS = 10_000;
/** A worker that sends no message for this long hangs. */
const UNRESPONSIVE_AFTER_MS = 30_000;
/** Longer than the time limit of a worker's collectors. */
const SNAPSHOT_MAX_MS = 2_000;
/** For requests in flight, and for closing connections. */
const END_MAX_MS = 40_000;

export function openWorkers(count: number): Workers {
  const pool: Pool = {
    workers: new Set(),
    isEnding: false,
    ended: (async () => [])(),
    replies: openReplies(),
  };
  const snapshotOf = async (worker: Worker) => {
    const request = (id: number) => send(worker, { kind: "snapshotRequest", id });
    worker.latest = (await pool.replies.request(request, SNAPSHOT_MAX_MS)) ?? worker.latest;
    return worker.latest;
  };
  return {
    start: async (handlers) => {
      if (count === 0) return;
      const starts = Array.from({ length: count }, () => Promise.withResolvers<void>());
      for (const one of starts) void superviseWorker(pool, handlers, one);
      killUnresponsive(pool, handlers.log);
      try {
        await Promise.all(starts.map(({ promise }) => promise));
      } catch (error) {
        pool.isEnding = true;
        for (const { child } of pool.workers) child.kill("SIGKILL");
        throw error;
      }
    },
    send: (message) => {
      pool.isEnding ||= message.kind === "stop";
      for (const worker of pool.workers) send(worker, message);
    },
    snapshots: async () => {
      const ready = [...pool.workers].filter(({ isReady }) => isReady);
      return [await pool.ended, ...(await Promise.all(ready.map(snapshotOf)))];
    },
    end: async (delayMs) => {
      const exits = [...pool.workers].map(({ child }) => child.exited);
      await within(delayMs + END_MAX_MS, Promise.all(exits));
      for (const { child } of pool.workers) child.kill("SIGKILL");
    },
  };
}

/** Starts a worker, and a new one whenever it ends or cannot be started. */
async function superviseWorker(
  pool: Pool,
  handlers: Handlers,
  firstStart: PromiseWithResolvers<void>,
): Promise<void> {
  const { log, metrics } = handlers;
  const backoff = openBackoff(restartDelays);
  while (!pool.isEnding) {
    const startedAt = performance.now();
    try {
      const worker = startWorker(pool, handlers, firstStart.resolve);
      const code = await worker.child.exited;
      pool.workers.delete(worker);
      const before = pool.ended;
      pool.ended = (async () => metrics.totalsOf([await before, worker.latest]))();
      if (pool.isEnding) return;
      const { pid: worker_pid, signalCode: signal } = worker.child;
      log.warn({ worker_pid, code, signal }, "Worker process exited; starting another one.");
    } catch (error) {
      log.error({ err: error }, "Worker process cannot start; retrying.");
    }
    // `start` waits for the first attempt only, and that failed.
    firstStart.reject(new Exit("failed", "A worker process (WORKERS) could not start."));
    if (performance.now() - startedAt > STABLE_MS) backoff.reset();
    await backoff.wait();
  }
}

function startWorker(pool: Pool, { metrics }: Handlers, onReady: () => void): Worker {
  const receive = async (message: FromWorker) => {
    worker.lastMessageAt = performance.now();
    if (message.kind === "snapshotResponse") pool.replies.receive(message.id, message.snapshot);
    if (message.kind === "metricsRequest")
      send(worker, { kind: "metricsResponse", id: message.id, text: await metrics.text() });
    if (message.kind !== "ready") return;
    worker.isReady = true;
    for (const one of worker.queue.splice(0)) send(worker, one);
    onReady();
  };
  const child = Bun.spawn([...ownProgram, WORKER], {
    stdio: ["ignore", "inherit", "inherit"],
    // Includes the variables from --env-file.
    env: process.env,
    ipc: (message: FromWorker) => void receive(message),
  });
  const lastMessageAt = performance.now();
  const worker: Worker = { child, isReady: false, lastMessageAt, queue: [], latest: [] };
  pool.workers.add(worker);
  return worker;
}

function send(worker: Worker, message: ToWorker): void {
  if (!worker.isReady) worker.queue.push(message);
  else
    try {
      worker.child.send(message);
    } catch {
      // The worker is exiting: its channel closes before its exit is known.
    }
}

function killUnresponsive({ workers }: Pool, log: Log): void {
  let checkedAt = performance.now();
  const check = () => {
    const now = performance.now();
    // After this process was suspended, messages have not been read yet.
    const wasSuspended = now - checkedAt > 2 * ALIVE_EVERY_MS;
    checkedAt = now;
    for (const worker of workers) {
      if (wasSuspended) worker.lastMessageAt = now;
      if (!worker.isReady || now - worker.lastMessageAt < UNRESPONSIVE_AFTER_MS) continue;
      log.error({ pid: worker.child.pid }, "Worker process does not respond; killing it.");
      worker.child.kill("SIGKILL");
    }
  };
  setInterval(check, ALIVE_EVERY_MS).unref();
}
