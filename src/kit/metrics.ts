import type { BrokerOutcome } from "./broker.ts";
import type { MailOutcome } from "./mail.ts";
import type { MetricName } from "./metric-list.ts";
import type { ProblemCode } from "./problem-codes.ts";

/** The metrics of one response. Every text is from a closed list, to bound the number of series. */
export interface ResponseMetrics {
  method: string;
  /** The pattern of the route. Undefined if no route matched. */
  route: string | undefined;
  status: number;
  seconds: number;
  /** The code of the problem that the response reports, if any. */
  problem: ProblemCode | undefined;
  /** The sign-in method, if the request was a sign-in. */
  signIn: "password" | "email" | undefined;
}

/**
 * Reads the value of a metric, or several values by the value of its label. A metric has no value
 * if this fails or takes longer than 1.5 seconds.
 */
export type Collector = () => MetricValue | Promise<MetricValue>;
export type MetricValue = number | Record<string, number>;
/** The metrics that are read at each scrape. */
export type Collectors = Partial<Record<MetricName, Collector>>;

/** The result of an attempt to deliver an event to a webhook. */
export type WebhookResult = (typeof webhookResults)[number];
export const webhookResults = ["delivered", "deferred", "failed", "dropped"] as const;

/** The metrics of this process, for Prometheus. */
export interface Metrics {
  startRequest: () => void;
  endRequest: (response: ResponseMetrics) => void;
  recordJob: (name: string, run: { isFailed: boolean; seconds: number }) => void;
  recordMail: (outcome: MailOutcome) => void;
  recordPublished: (outcome: BrokerOutcome, count: number) => void;
  recordWebhook: (result: WebhookResult) => void;
  /** Replaces the collectors. A counter continues from its previous value. */
  collect: (collectors: Collectors) => Promise<void>;
  snapshot: () => Promise<Snapshot>;
  /** Without gauges: counts must survive the processes that counted them. */
  totalsOf: (snapshots: Snapshot[]) => Promise<Snapshot>;
  /** Prometheus' text format, version 0.0.4. Includes the snapshots of other processes. */
  text: (others?: Snapshot[]) => Promise<string>;
}

/** All metrics of one process at one time, to send to another process. */
export type Snapshot = object[];

export const noMetrics: Metrics = {
  startRequest: () => {},
  endRequest: () => {},
  recordJob: () => {},
  recordMail: () => {},
  recordPublished: () => {},
  recordWebhook: () => {},
  collect: async () => {},
  snapshot: async () => [],
  totalsOf: async () => [],
  text: async () => "",
};
