import type { Log } from "../kit/log.ts";
import type { Metrics, Snapshot } from "../kit/metrics.ts";
import type { Runtime } from "../runtime.ts";

/**
 * The role of a process among those that serve together (WORKERS). The primary process starts the
 * worker processes. Each worker process is a full instance behind the same port.
 */
export interface Role extends Pick<Runtime, "gather"> {
  purpose: "serve" | "worker";
  isSeveral: boolean;
  /** Resolves when this process has to stop. The primary process has told its workers then. */
  stopped: () => Promise<void>;
  /** Called when this process serves. Waits for the others. Throws an Exit if one cannot. */
  begin: (handlers: Handlers) => Promise<void>;
  /** Called when this process has drained. Resolves when the others have exited. */
  end: () => Promise<void>;
}

/** What a process provides for signals and for messages of other processes. */
export interface Handlers {
  log: Log;
  reload: () => void;
  metrics: Metrics;
}

export const WORKER = "__worker";

export type ToWorker =
  | { kind: "stop" | "reload" }
  | { kind: "snapshotRequest"; id: number }
  | { kind: "metricsResponse"; id: number; text: string };

export type FromWorker =
  | { kind: "ready" | "alive" }
  | { kind: "snapshotResponse"; id: number; snapshot: Snapshot }
  | { kind: "metricsRequest"; id: number };

/** How often a worker process reports that it is not blocked. */
export const ALIVE_EVERY_MS = 5_000;
