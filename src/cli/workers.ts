import { setTimeout as sleep } from "node:timers/promises";
import type { Subprocess } from "bun";
import { ownProgram } from "../kit/build.ts";
import { Exit } from "../kit/exit.ts";
import type { Log } from "../kit/log.ts";
import type { Snapshot } from "../kit/metrics.ts";
import { ALIVE_EVERY_MS, type Duties, type Order, type Report, WORKER } from "./crew.ts";
import { openReplies, type Replies } from "./replies.ts";

/** The processes that this one has started to serve beside it, and starts again when they end. */
export interface Workers {
  /** Resolves when all of them serve. Throws an Exit where one ends before it does. */
  start: (duties: Duties) => Promise<void>;
  tell: (order: Order) => void;
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
  orders: Order[];
  latest: Snapshot;
}

/** All of them. */
interface Staff {
  workers: Set<Worker>;
  isEnding: boolean;
  /** What was counted by those that have ended. */
  departed: Snapshot;
  counts: Replies<Snapshot>;
}

const RESTART_MIN_DELAY_MS = 50;
const RESTART_MAX_DELAY_MS = 5_000;
/** A worker that served for so long did not end because it cannot start. */
const SOUND_MS = 10_000;
/** A process that is silent for so long hangs. */
const SILENCE_MAX_MS = 30_000;
/** Longer than what is read for it allows itself. */
const COUNT_MAX_MS = 2_000;
/** For its requests in flight, and for closing what it has open. */
const END_MAX_MS = 35_000;

export function openWorkers(count: number): Workers {
  const staff: Staff = {
    ...{ workers: new Set(), isEnding: false, departed: [] },
    counts: openReplies(),
  };
  const snapshotOf = async (worker: Worker) => {
    const ask = (id: number) => tell(worker, { kind: "count", id });
    worker.latest = (await staff.counts.ask(ask, COUNT_MAX_MS)) ?? worker.latest;
    return worker.latest;
  };
  return {
    start: async (duties) => {
      if (count === 0) return;
      const serving = Array.from({ length: count }, () => Promise.withResolvers<void>());
      for (const one of serving) void keepOne(staff, duties, one);
      setInterval(() => killSilent(staff, duties.log), ALIVE_EVERY_MS).unref();
      await Promise.all(serving.map(({ promise }) => promise));
    },
    tell: (order) => {
      staff.isEnding ||= order.kind === "stop";
      for (const worker of staff.workers) tell(worker, order);
    },
    snapshots: async () => {
      const present = [...staff.workers].filter(({ isReady }) => isReady);
      return [staff.departed, ...(await Promise.all(present.map(snapshotOf)))];
    },
    end: async (delayMs) => {
      const late = sleep(delayMs + END_MAX_MS, undefined, { ref: false });
      const exits = [...staff.workers].map(({ child }) => child.exited);
      await Promise.race([Promise.all(exits), late]);
      for (const { child } of staff.workers) child.kill("SIGKILL");
    },
  };
}

/** Starts a worker, and another one whenever it ends. */
async function keepOne(
  staff: Staff,
  duties: Duties,
  serving: PromiseWithResolvers<void>,
): Promise<void> {
  let delayMs = RESTART_MIN_DELAY_MS;
  while (!staff.isEnding) {
    const startedAt = performance.now();
    const worker = startWorker(staff, duties, serving.resolve);
    const code = await worker.child.exited;
    staff.workers.delete(worker);
    staff.departed = await duties.metrics().counted([staff.departed, worker.latest]);
    // Only the first start is waited for: it failed.
    serving.reject(new Exit("failed", "A further process (WORKERS) could not start to serve."));
    if (staff.isEnding) return;
    const { pid, signalCode: signal } = worker.child;
    duties.log.warn({ pid, code, signal }, "A worker ended; starting another one.");
    if (performance.now() - startedAt > SOUND_MS) delayMs = RESTART_MIN_DELAY_MS;
    await sleep(delayMs);
    delayMs = Math.min(2 * delayMs, RESTART_MAX_DELAY_MS);
  }
}

function startWorker(staff: Staff, duties: Duties, onReady: () => void): Worker {
  const hear = async (report: Report) => {
    worker.heardAt = performance.now();
    if (report.kind === "counted") staff.counts.heard(report.id, report.snapshot);
    if (report.kind === "ask")
      tell(worker, { kind: "figures", id: report.id, text: await duties.metrics().text() });
    if (report.kind !== "ready") return;
    worker.isReady = true;
    for (const order of worker.orders.splice(0)) tell(worker, order);
    onReady();
  };
  const child = Bun.spawn([...ownProgram, WORKER], {
    stdio: ["ignore", "inherit", "inherit"],
    ipc: (report: Report) => void hear(report),
  });
  const worker: Worker = {
    ...{ child, isReady: false, heardAt: performance.now(), orders: [], latest: [] },
  };
  staff.workers.add(worker);
  return worker;
}

function tell(worker: Worker, order: Order): void {
  if (!worker.isReady) worker.orders.push(order);
  else if (worker.child.exitCode === null && worker.child.signalCode === null)
    worker.child.send(order);
}

function killSilent({ workers }: Staff, log: Log): void {
  for (const { child, isReady, heardAt } of workers)
    if (isReady && performance.now() - heardAt > SILENCE_MAX_MS) {
      log.error({ pid: child.pid }, "A worker says nothing any more; it is killed.");
      child.kill("SIGKILL");
    }
}
