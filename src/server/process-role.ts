import type { Log } from "../kit/log.ts";
import type { Metrics, Snapshot } from "../kit/metrics.ts";
import type { Runtime } from "../runtime.ts";

/**
 * What a server process is among those that serve together (WORKERS): the one that was started leads, and starts the others,
 * each of which is an instance of its own behind the same port.
 */
export interface Role extends Pick<Runtime, "gather"> {
  purpose: "serve" | "worker";
  /** Whether several processes listen on one port. */
  isSeveral: boolean;
  /** Resolves when this process is asked to end, and has passed it on. */
  stopped: () => Promise<void>;
  /** This process serves: resolves when all of them do. Throws an Exit where one cannot. */
  begin: (handlers: Handlers) => Promise<void>;
  /** This process has ended its work: resolves when the others have. */
  end: () => Promise<void>;
}

/** What a process does when it is told to. */
export interface Handlers {
  log: Log;
  reload: () => void;
  metrics: Metrics;
}

/** A hidden command of the binary: a further process that serves. */
export const WORKER = "__worker";

/** From the one that leads to a worker. */
export type ToWorker =
  | { kind: "stop" | "reload" }
  | { kind: "snapshotRequest"; id: number }
  | { kind: "metricsResponse"; id: number; text: string };

/** From a worker to the one that leads. */
export type FromWorker =
  | { kind: "ready" | "alive" }
  | { kind: "snapshotResponse"; id: number; snapshot: Snapshot }
  | { kind: "metricsRequest"; id: number };

/** How often a worker says that it still comes to its work. */
export const ALIVE_EVERY_MS = 5_000;
