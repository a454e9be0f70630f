/** The tables of docs/metrics.md, from the list of metrics and the alert rules. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Metric, metricList } from "../src/kit/metric-list.ts";

interface Alert {
  alert: string;
  expr: string;
  for?: string;
  labels: { severity: string };
  annotations: { summary: string; description: string };
}

const rules = readFileSync(join(import.meta.dir, "../deploy/prometheus/bunker.rules.yml"), "utf8");
const { groups } = Bun.YAML.parse(rules) as { groups: { rules: Alert[] }[] };
const alerts = groups.flatMap((group) => group.rules);

/** The metrics that a query reads. A histogram counts under its own name. */
export const metricsIn = (expr: string): string[] => [
  ...new Set(
    [...expr.matchAll(/\b([a-z][a-z0-9_]*)\{/g)].map(([, name = ""]) =>
      name.replace(/_(bucket|count|sum)$/, ""),
    ),
  ),
];

const labelsOf = ({ labels = {} }: Metric) =>
  Object.entries(labels)
    .map(([label, values]) => `\`${label}\`: ${values}`)
    .join("<br>");

const alertsOn = (name: string) =>
  alerts
    .filter(({ expr }) => metricsIn(expr).includes(name))
    .map(({ alert }) => alert)
    .join(", ");

export const metricsTable = (): string[] => [
  "| name | type | labels | meaning | alerts |",
  "|---|---|---|---|---|",
  ...Object.entries<Metric>(metricList).map(
    ([name, metric]) =>
      `| \`${name}\` | ${metric.type} | ${labelsOf(metric)} | ${metric.help} | ${alertsOn(name)} |`,
  ),
];

export const alertsTable = (): string[] => [
  "| alert | severity | after | what to do |",
  "|---|---|---|---|",
  ...alerts.map(
    ({ alert, labels, for: delay = "at once", annotations }) =>
      `| \`${alert}\` | ${labels.severity} | ${delay} | ${annotations.description} |`,
  ),
];
