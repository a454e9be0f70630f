import { setTimeout as sleep } from "node:timers/promises";
import {
  AggregatorRegistry,
  Counter,
  collectDefaultMetrics,
  Gauge,
  Histogram,
  Registry,
} from "prom-client";
import type { Figures, GaugeSource, Metrics, ResponseMetrics, Snapshot } from "../kit/metrics.ts";

/** The buckets of OpenTelemetry's semantic conventions for http.server.request.duration. */
const HTTP_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];
const JOB_SECONDS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60];
/** Longer than any `read` takes by its own timeout. */
const READ_MAX_MS = 1_500;
/** Metrics of the process. The other default metrics of prom-client are wrong under Bun. */
const processMetrics = /^(process_(cpu|resident|start|open|max)|nodejs_eventloop_lag)/;

/**
 * Aggregation over several processes: the latest start, and the worst lag. prom-client would omit
 * the first and average the second.
 */
const aggregators = {
  process_start_time_seconds: "max",
  nodejs_eventloop_lag_p99_seconds: "max",
  nodejs_eventloop_lag_seconds: "max",
};

/** Counts in this process, and reads the other values for each scrape. */
export function openMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  for (const { name } of registry.getMetricsAsArray())
    if (!processMetrics.test(name)) registry.removeSingleMetric(name);
  for (const [name, aggregator] of Object.entries(aggregators))
    Object.assign(registry.getSingleMetric(name) ?? {}, { aggregator });
  return {
    ...httpMetrics(registry),
    ...workMetrics(registry),
    watch: openWatch(registry),
    snapshot: () => registry.getMetricsAsJSON(),
    counted: (snapshots) =>
      AggregatorRegistry.aggregate(snapshots.map(withoutGauges)).getMetricsAsJSON(),
    text: async (others) =>
      others === undefined
        ? registry.metrics()
        : AggregatorRegistry.aggregate([await registry.getMetricsAsJSON(), ...others]).metrics(),
  };
}

/** Registers each name once. A scrape reads the latest source of that name. */
function openWatch(registry: Registry): Metrics["watch"] {
  const current = new Map<string, GaugeSource["read"]>();
  const totals = new Map<string, Figures>();
  return async (gauges) => {
    for (const gauge of gauges) {
      const { name, read } = gauge;
      const before = current.get(name);
      if (before && before !== read && name.endsWith("_total"))
        totals.set(name, sum(totals.get(name), await before()));
      current.set(name, read);
      const figures = async () => sum(totals.get(name), await (current.get(name) ?? read)());
      if (!before) register(registry, { ...gauge, read: figures });
    }
  };
}

function sum(a: Figures | undefined, b: Figures): Figures {
  if (a === undefined) return b;
  if (typeof a === "number" || typeof b === "number") return Number(a) + Number(b);
  const labels = Object.keys({ ...a, ...b });
  return Object.fromEntries(labels.map((label) => [label, (a[label] ?? 0) + (b[label] ?? 0)]));
}

const withoutGauges = (snapshot: Snapshot) =>
  snapshot.filter((metric) => !("type" in metric) || metric.type !== "gauge");

function httpMetrics(registry: Registry): Pick<Metrics, "begin" | "answered"> {
  const registers = [registry];
  const durations = new Histogram({
    name: "http_server_request_duration_seconds",
    help: "Duration of HTTP server requests, by route pattern.",
    labelNames: ["http_request_method", "http_route", "http_response_status_code"],
    buckets: HTTP_SECONDS,
    registers,
  });
  const active = new Gauge({
    name: "http_server_active_requests",
    help: "Requests in progress.",
    registers,
  });
  const refusals = new Counter({
    name: "bunker_refusals_total",
    help: "Refused requests, by problem code.",
    labelNames: ["code"],
    registers,
  });
  const signIns = new Counter({
    name: "bunker_sign_ins_total",
    help: "Sign-in attempts, by method and result: success, or the problem code.",
    labelNames: ["method", "result"],
    registers,
  });
  const answered = ({ method, route = "", status, seconds, refusal, signIn }: ResponseMetrics) => {
    active.dec();
    durations.observe(
      { http_request_method: method, http_route: route, http_response_status_code: status },
      seconds,
    );
    if (refusal) refusals.inc({ code: refusal });
    if (signIn) signIns.inc({ method: signIn, result: refusal ?? "success" });
  };
  return { begin: () => active.inc(), answered };
}

function workMetrics(registry: Registry): Pick<Metrics, "job" | "mail"> {
  const registers = [registry];
  const jobs = new Histogram({
    name: "bunker_job_duration_seconds",
    help: "Duration of background job runs, by job and result.",
    // Not `job`, because Prometheus itself has a label of that name.
    labelNames: ["job_name", "result"],
    buckets: JOB_SECONDS,
    registers,
  });
  const mails = new Counter({
    name: "bunker_mail_deliveries_total",
    help: "Attempts to deliver a mail, by result: sent, later (will be retried), refused (by the server), away (server unreachable), dropped (not attempted).",
    labelNames: ["result"],
    registers,
  });
  const known = new Set<string>();
  /** Starts both series at zero, so that Prometheus sees the first failure as an increase. */
  const initialize = (job_name: string) => {
    if (known.has(job_name)) return;
    known.add(job_name);
    for (const result of ["success", "failure"]) jobs.zero({ job_name, result });
  };
  return {
    job: (job_name, { isFailed, seconds }) => {
      initialize(job_name);
      jobs.observe({ job_name, result: isFailed ? "failure" : "success" }, seconds);
    },
    mail: (result) => mails.inc({ result }),
  };
}

function register(registry: Registry, { name, help, label, together, read }: GaugeSource): void {
  const set = async (store: (value: number, of?: Record<string, string>) => void) => {
    const late = sleep(READ_MAX_MS, undefined, { ref: false });
    const reading = (async () => read())();
    const figures = await Promise.race([reading, late]).catch(() => undefined);
    if (typeof figures === "number") store(figures);
    if (typeof figures === "object")
      for (const [word, value] of Object.entries(figures)) store(value, { [label ?? ""]: word });
  };
  const common = {
    name,
    help,
    labelNames: label ? [label] : [],
    registers: [registry],
    ...(together ? { aggregator: together } : {}),
  };
  if (name.endsWith("_total"))
    new Counter({
      ...common,
      async collect() {
        this.reset();
        await set((value, of) => (of ? this.inc(of, value) : this.inc(value)));
      },
    });
  else
    new Gauge({
      ...common,
      async collect() {
        this.reset();
        // A gauge that cannot be read has no value. Without this, prom-client reports 0.
        if (!label) this.remove();
        await set((value, of) => (of ? this.set(of, value) : this.set(value)));
      },
    });
}
