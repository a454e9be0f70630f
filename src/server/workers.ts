import { setTimeout as sleep } from "node:timers/promises";
import type { Subprocess } from "bun";
import { openBackoff } from "../kit/backoff.ts";
import { ownProgram } from "../kit/build.ts";
import { Exit } from "../kit/exit.ts";
import type { Log } from "../kit/log.ts";
import type { Snapshot } from "../kit/metrics.ts";
import {
  ALIVE_EVERY_MS,
  type FromWorker,
  type Handlers,
  type ToWorker,
  WORKER,
} from "./process-role.ts";
import { openReplies, type Replies } from "./replies.ts";

/** The processes that this one has started to serve beside it, and starts again when they end. */
export interface Workers {
  /** Resolves when all of them serve. Throws an Exit where one ends before it does. */
  start: (handlers: Handlers) => Promise<void>;
  tell: (message: ToWorker) => void;
  /** The figures of each, and of those that have ended. */
  snapshots: () => Promise<Snapshot[]>;
  /** Resolves when all have ended, as they were told to; those that do not in time are killed. */
  end: (delayMs: number) => Promise<void>;
}

interface Worker {
  child: Subprocess<"ignore", "inherit", "inherit">;
  isReady: boolean;
  heardAt: number;
  /** What it is told as soon as it is ready. */
  waiting: ToWorker[];
  latest: Snapshot;
}

/** All of them. */
interface Pool {
  workers: Set<Worker>;
  isEnding: boolean;
  /** What was counted by those that have ended. */
  departed: Promise<Snapshot>;
  replies: Replies<Snapshot>;
}

const restartDelays = { minMs: 50, maxMs: 5_000 };
/** A worker that served for so long did not end because it cannot start. */
const SOUND_MS = 10_000;
/** A process that is silent for so long hangs. */
const SILENCE_MAX_MS = 30_000;
/** Longer than what is read for it allows itself. */
const SNAPSHOT_MAX_MS = 2_000;
/** For its requests in flight, and for closing what it has open. */
const END_MAX_MS = 40_000;

export function openWorkers(count: number): Workers {
  const pool: Pool = {
    workers: new Set(),
    isEnding: false,
    departed: (async () => [])(),
    replies: openReplies(),
  };
  const snapshotOf = async (worker: Worker) => {
    const ask = (id: number) => tell(worker, { kind: "snapshotRequest", id });
    worker.latest = (await pool.replies.ask(ask, SNAPSHOT_MAX_MS)) ?? worker.latest;
    return worker.latest;
  };
  return {
    start: async (handlers) => {
      if (count === 0) return;
      const serving = Array.from({ length: count }, () => Promise.withResolvers<void>());
      for (const one of serving) void keepOne(pool, handlers, one);
      killSilent(pool, handlers.log);
      try {
        await Promise.all(serving.map(({ promise }) => promise));
      } catch (error) {
        pool.isEnding = true;
        for (const { child } of pool.workers) child.kill("SIGKILL");
        throw error;
      }
    },
    tell: (message) => {
      pool.isEnding ||= message.kind === "stop";
      for (const worker of pool.workers) tell(worker, message);
    },
    snapshots: async () => {
      const present = [...pool.workers].filter(({ isReady }) => isReady);
      return [await pool.departed, ...(await Promise.all(present.map(snapshotOf)))];
    },
    end: async (delayMs) => {
      const late = sleep(delayMs + END_MAX_MS, undefined, { ref: false });
      const exits = [...pool.workers].map(({ child }) => child.exited);
      await Promise.race([Promise.all(exits), late]);
      for (const { child } of pool.workers) child.kill("SIGKILL");
    },
  };
}

/** Starts a worker, and another one whenever it ends, or cannot be started. */
async function keepOne(
  pool: Pool,
  handlers: Handlers,
  serving: PromiseWithResolvers<void>,
): Promise<void> {
  const { log, metrics } = handlers;
  const backoff = openBackoff(restartDelays);
  while (!pool.isEnding) {
    const startedAt = performance.now();
    try {
      const worker = startWorker(pool, handlers, serving.resolve);
      const code = await worker.child.exited;
      pool.workers.delete(worker);
      const before = pool.departed;
      pool.departed = (async () => metrics.counted([await before, worker.latest]))();
      if (pool.isEnding) return;
      const { pid: worker_pid, signalCode: signal } = worker.child;
      log.warn({ worker_pid, code, signal }, "A worker ended; starting another one.");
    } catch (error) {
      log.error({ err: error }, "A worker cannot be started; trying again.");
    }
    // Only the first start is waited for: it failed.
    serving.reject(new Exit("failed", "A further process (WORKERS) could not start to serve."));
    if (performance.now() - startedAt > SOUND_MS) backoff.reset();
    await backoff.wait();
  }
}

function startWorker(pool: Pool, { metrics }: Handlers, onReady: () => void): Worker {
  const hear = async (message: FromWorker) => {
    worker.heardAt = performance.now();
    if (message.kind === "snapshotResponse") pool.replies.heard(message.id, message.snapshot);
    if (message.kind === "metricsRequest")
      tell(worker, { kind: "metricsResponse", id: message.id, text: await metrics.text() });
    if (message.kind !== "ready") return;
    worker.isReady = true;
    for (const one of worker.waiting.splice(0)) tell(worker, one);
    onReady();
  };
  const child = Bun.spawn([...ownProgram, WORKER], {
    stdio: ["ignore", "inherit", "inherit"],
    // Includes the variables from --env-file.
    env: process.env,
    ipc: (message: FromWorker) => void hear(message),
  });
  const heardAt = performance.now();
  const worker: Worker = { child, isReady: false, heardAt, waiting: [], latest: [] };
  pool.workers.add(worker);
  return worker;
}

function tell(worker: Worker, message: ToWorker): void {
  if (!worker.isReady) worker.waiting.push(message);
  else
    try {
      worker.child.send(message);
    } catch {
      // It is about to end: its channel is closed before that is known.
    }
}

/** Looks all the time, until the process ends. */
function killSilent({ workers }: Pool, log: Log): void {
  let lookedAt = performance.now();
  const look = () => {
    const now = performance.now();
    // This process was stopped, or the whole machine: what was said meanwhile is not heard yet.
    const wasAway = now - lookedAt > 2 * ALIVE_EVERY_MS;
    lookedAt = now;
    for (const worker of workers) {
      if (wasAway) worker.heardAt = now;
      if (!worker.isReady || now - worker.heardAt < SILENCE_MAX_MS) continue;
      log.error({ pid: worker.child.pid }, "A worker says nothing any more; it is killed.");
      worker.child.kill("SIGKILL");
    }
  };
  setInterval(look, ALIVE_EVERY_MS).unref();
}
