import type { MailOutcome } from "./mail.ts";
import type { ProblemCode } from "./problem-codes.ts";

/** The metrics of one response. Every text is from a closed list, to bound the number of series. */
export interface ResponseMetrics {
  method: string;
  /** The pattern of the route. Undefined if no route matched. */
  route: string | undefined;
  status: number;
  seconds: number;
  /** The code of the problem, if the request was refused. */
  refusal: ProblemCode | undefined;
  /** The sign-in method, if the request was a sign-in. */
  signIn: "password" | "email" | undefined;
}

/** A gauge or counter whose value is read for each scrape. */
export interface GaugeSource {
  /** By the conventions of Prometheus: snake case, base units, `_total` at the end of a counter. */
  name: string;
  help: string;
  /** The name of the label, if `read` returns several values. */
  label?: string;
  /**
   * How to aggregate the values of several processes. The default is the sum. Set it if all
   * processes read the same value.
   */
  together?: "max" | "min";
  /** A value is left out if it fails or takes longer than 1.5 seconds. */
  read: () => Figures | Promise<Figures>;
}
export type Figures = number | Record<string, number>;

/** The metrics of this process, for Prometheus. */
export interface Metrics {
  begin: () => void;
  answered: (figures: ResponseMetrics) => void;
  /** Counts a run of a job from `jobs.ts`. */
  job: (name: string, run: { isFailed: boolean; seconds: number }) => void;
  mail: (outcome: MailOutcome) => void;
  /**
   * Replaces the gauges and counters that are read for each scrape. A counter continues from its
   * previous value.
   */
  watch: (gauges: GaugeSource[]) => Promise<void>;
  snapshot: () => Promise<Snapshot>;
  /**
   * Aggregates the counters and histograms of snapshots, without gauges: their counts must survive
   * the processes that counted them.
   */
  counted: (snapshots: Snapshot[]) => Promise<Snapshot>;
  /** Prometheus' text format, version 0.0.4. Includes the snapshots of other processes. */
  text: (others?: Snapshot[]) => Promise<string>;
}

/** All metrics of one process at one time, to send to another process. */
export type Snapshot = object[];

/** Metrics are off. */
export const noMetrics: Metrics = {
  begin: () => {},
  answered: () => {},
  job: () => {},
  mail: () => {},
  watch: async () => {},
  snapshot: async () => [],
  counted: async () => [],
  text: async () => "",
};
