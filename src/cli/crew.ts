import type { Purpose } from "../ground.ts";
import type { Log } from "../kit/log.ts";
import type { Metrics, Snapshot } from "../kit/metrics.ts";

/**
 * One of the processes that serve together (WORKERS): the one that was started leads, and starts the others, each of which
 * is an instance of its own behind the same port.
 */
export interface Crew {
  purpose: Purpose & ("serve" | "worker");
  /** Whether several processes listen on one port. */
  isSeveral: boolean;
  /** The figures of all; undefined where there is one. */
  gather: ((own: Metrics) => Promise<string>) | undefined;
  /** This process serves: resolves when all of them do. Throws an Exit where one cannot. */
  begin: (duties: Duties) => Promise<void>;
  /** Resolves when this process is asked to end, and has passed it on. */
  stopped: () => Promise<void>;
  /** This process has ended its work: resolves when the others have. */
  end: () => Promise<void>;
}

/** What a process does when it is told to. */
export interface Duties {
  log: Log;
  reload: () => void;
  metrics: () => Metrics;
}

/** A hidden command of the binary: a further process that serves. */
export const WORKER = "__worker";

/** From the one that leads to a worker. */
export type Order =
  | { kind: "stop" | "reload" }
  | { kind: "count"; id: number }
  | { kind: "figures"; id: number; text: string };

/** From a worker to the one that leads. */
export type Report =
  | { kind: "ready" | "alive" }
  | { kind: "counted"; id: number; snapshot: Snapshot }
  | { kind: "ask"; id: number };

/** How often a worker says that it still comes to its work. */
export const ALIVE_EVERY_MS = 5_000;

export const STOP_SIGNALS = ["SIGTERM", "SIGINT"] as const;
