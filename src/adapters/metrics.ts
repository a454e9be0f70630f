import {
  AggregatorRegistry,
  Counter,
  collectDefaultMetrics,
  Gauge,
  Histogram,
  Registry,
} from "prom-client";
import { type Metric, type MetricName, metricList } from "../kit/metric-list.ts";
import {
  type Collector,
  type Metrics,
  type MetricValue,
  type ResponseMetrics,
  type Snapshot,
  webhookResults,
} from "../kit/metrics.ts";
import { within } from "../kit/within.ts";

/** Longer than any collector takes by its own timeout. */
const COLLECT_MAX_MS = 1_500;

/** Counts in this process, and reads the other values at each scrape. */
export function openMetrics(): Metrics {
  const registry = new Registry();
  collectProcessMetrics(registry);
  return {
    ...openRequestMetrics(registry),
    ...openWorkMetrics(registry),
    collect: openCollectors(registry),
    snapshot: () => registry.getMetricsAsJSON(),
    totalsOf: (snapshots) =>
      AggregatorRegistry.aggregate(snapshots.map(withoutGauges)).getMetricsAsJSON(),
    text: async (others) =>
      others === undefined
        ? registry.metrics()
        : AggregatorRegistry.aggregate([await registry.getMetricsAsJSON(), ...others]).metrics(),
  };
}

const withoutGauges = (snapshot: Snapshot) =>
  snapshot.filter((metric) => !("type" in metric) || metric.type !== "gauge");

/** The default metrics of prom-client, as far as they are in the list. */
function collectProcessMetrics(registry: Registry): void {
  collectDefaultMetrics({ register: registry });
  for (const metric of registry.getMetricsAsArray()) {
    const { help, aggregator }: Partial<Metric> = metricList[metric.name as MetricName] ?? {};
    if (help) Object.assign(metric, { help, ...(aggregator ? { aggregator } : {}) });
    else registry.removeSingleMetric(metric.name);
  }
}

function optionsOf(name: MetricName, registry: Registry) {
  const { type, labels = {}, ...options }: Metric = metricList[name];
  return { ...options, name, labelNames: Object.keys(labels), registers: [registry] };
}

function openRequestMetrics(registry: Registry): Pick<Metrics, "startRequest" | "endRequest"> {
  const durations = new Histogram(optionsOf("http_request_duration_seconds", registry));
  const inFlight = new Gauge(optionsOf("http_requests_in_flight", registry));
  const problems = new Counter(optionsOf("bunker_problems_total", registry));
  const signIns = new Counter(optionsOf("bunker_sign_in_attempts_total", registry));
  return {
    startRequest: () => inFlight.inc(),
    endRequest: ({ method, route = "", status, seconds, problem, signIn }: ResponseMetrics) => {
      inFlight.dec();
      durations.observe({ method, route, status }, seconds);
      if (problem) problems.inc({ code: problem });
      if (signIn) signIns.inc({ method: signIn, result: problem ?? "success" });
    },
  };
}

type WorkMetrics = Pick<Metrics, "recordJob" | "recordMail" | "recordPublished" | "recordWebhook">;

function openWorkMetrics(registry: Registry): WorkMetrics {
  const jobs = new Histogram(optionsOf("bunker_job_duration_seconds", registry));
  const mails = new Counter(optionsOf("bunker_mail_deliveries_total", registry));
  const published = new Counter(optionsOf("bunker_broker_messages_total", registry));
  const webhooks = new Counter(optionsOf("bunker_webhook_deliveries_total", registry));
  for (const result of webhookResults) webhooks.inc({ result }, 0);
  const known = new Set<string>();
  /** Starts both series at zero, so that Prometheus sees the first failure as an increase. */
  const initialize = (job_name: string) => {
    if (known.has(job_name)) return;
    known.add(job_name);
    for (const result of ["success", "failure"]) jobs.zero({ job_name, result });
  };
  return {
    recordJob: (job_name, { isFailed, seconds }) => {
      initialize(job_name);
      jobs.observe({ job_name, result: isFailed ? "failure" : "success" }, seconds);
    },
    recordMail: (result) => mails.inc({ result }),
    recordPublished: (result, count) => published.inc({ result }, count),
    recordWebhook: (result) => webhooks.inc({ result }),
  };
}

/** Registers each metric once. A scrape reads its latest collector. */
function openCollectors(registry: Registry): Metrics["collect"] {
  const current = new Map<MetricName, Collector>();
  /** What the earlier collectors of a counter had counted. */
  const totals = new Map<MetricName, MetricValue>();
  return async (collectors) => {
    for (const [key, collector] of Object.entries(collectors)) {
      const name = key as MetricName;
      const earlier = current.get(name);
      if (earlier && earlier !== collector && metricList[name].type === "counter")
        totals.set(name, sum(totals.get(name), await earlier()));
      current.set(name, collector);
      const collect = async () => sum(totals.get(name), await (current.get(name) ?? collector)());
      if (!earlier) register(registry, name, collect);
    }
  };
}

function sum(a: MetricValue | undefined, b: MetricValue): MetricValue {
  if (a === undefined) return b;
  if (typeof a === "number" || typeof b === "number") return Number(a) + Number(b);
  const labels = Object.keys({ ...a, ...b });
  return Object.fromEntries(labels.map((label) => [label, (a[label] ?? 0) + (b[label] ?? 0)]));
}

function register(registry: Registry, name: MetricName, read: Collector): void {
  const options = optionsOf(name, registry);
  const [label = ""] = options.labelNames;
  const readInto = async (store: (labels: Record<string, string>, value: number) => void) => {
    const reading = (async () => read())();
    const found = await within(COLLECT_MAX_MS, reading).catch(() => undefined);
    if (typeof found === "number") store({}, found);
    if (typeof found === "object")
      for (const [value, number] of Object.entries(found)) store({ [label]: value }, number);
  };
  if (metricList[name].type === "counter")
    new Counter({
      ...options,
      async collect() {
        this.reset();
        await readInto((labels, value) => this.inc(labels, value));
      },
    });
  else
    new Gauge({
      ...options,
      async collect() {
        this.reset();
        // A gauge that cannot be read has no value. Without this, prom-client reports 0.
        if (label === "") this.remove();
        await readInto((labels, value) => this.set(labels, value));
      },
    });
}
