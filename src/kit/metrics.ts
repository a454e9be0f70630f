import type { MailOutcome } from "./mail.ts";
import type { ProblemCode } from "./problem-codes.ts";

/** A request that was answered. Every word is from a closed list. */
export interface ResponseMetrics {
  method: string;
  /** The pattern that matched; undefined: none did. */
  route: string | undefined;
  status: number;
  seconds: number;
  /** The code of the refusal, if it was one. */
  refusal: ProblemCode | undefined;
  /** By what somebody tried to sign in, if it was for that. */
  signIn: "password" | "email" | undefined;
}

/** A figure that is read when somebody asks. By name of a label's value, where there are several. */
export interface GaugeSource {
  /** As Prometheus has them: snake case, base units, `_total` behind what only grows. */
  name: string;
  help: string;
  /** The label that tells the values apart. */
  label?: string;
  /** What several processes say together: the sum, where it is not one thing that each of them looks at. */
  together?: "max" | "min";
  /** A reading that fails, or takes longer than a second, is left out. */
  read: () => Figures | Promise<Figures>;
}
export type Figures = number | Record<string, number>;

/** Counts what happens, for whoever watches (Prometheus). */
export interface Metrics {
  begin: () => void;
  answered: (figures: ResponseMetrics) => void;
  /** A run of a job from `jobs.ts`. */
  job: (name: string, run: { isFailed: boolean; seconds: number }) => void;
  mail: (outcome: MailOutcome) => void;
  /** What is read when somebody asks, from now on; what grows goes on from where it was. */
  watch: (gauges: GaugeSource[]) => Promise<void>;
  snapshot: () => Promise<Snapshot>;
  /** What was counted in all of them: it stays counted when the processes that did are gone. */
  counted: (snapshots: Snapshot[]) => Promise<Snapshot>;
  /** In Prometheus' text format, version 0.0.4; with what other processes say, if there are any. */
  text: (others?: Snapshot[]) => Promise<string>;
}

/** All figures of one process at one time, to be sent to another. */
export type Snapshot = object[];

/** Where nobody watches, nothing is counted. */
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
