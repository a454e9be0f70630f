import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { metricsIn } from "../docs/metrics.ts";
import { type Metric, metricList } from "../src/kit/metric-list.ts";

const metrics = Object.entries<Metric>(metricList);
const names: string[] = metrics.map(([name]) => name);
const deploy = (file: string) => readFileSync(join(import.meta.dir, "../deploy", file), "utf8");

test("metrics are named by the conventions of Prometheus", () => {
  for (const [name, { type, labels = {} }] of metrics) {
    expect(name).toMatch(/^(bunker|http|process|nodejs)(_[a-z0-9]+)+$/);
    expect([name, name.endsWith("_total")]).toEqual([name, type === "counter"]);
    if (type === "histogram") expect(name).toEndWith("_seconds");
    expect(name).not.toMatch(/_(ms|millis|minutes|kib|mb|percent|count|sum|bucket|counter|gauge)$/);
    // Prometheus itself sets `job` and `instance`; `le` is a histogram's own.
    for (const label of Object.keys(labels))
      expect(label).toMatch(/^(?!job$|instance$|le$)[a-z_]+$/);
  }
});

test("a metric's help is one sentence", () => {
  for (const [name, { help }] of metrics)
    expect([name, help]).toEqual([name, expect.stringMatching(/^[A-Z][^.]*\.$/)]);
});

test("the dashboard and the alerts query only metrics that exist", () => {
  const dashboard = JSON.parse(deploy("grafana/bunker.json")) as {
    panels: { targets: { expr: string }[] }[];
  };
  const rules = Bun.YAML.parse(deploy("prometheus/bunker.rules.yml")) as {
    groups: { rules: { expr: string }[] }[];
  };
  for (const targets of [
    dashboard.panels.flatMap((panel) => panel.targets),
    rules.groups.flatMap((group) => group.rules),
  ]) {
    const queried = targets.flatMap(({ expr }) => metricsIn(expr));
    expect(queried.length).toBeGreaterThan(10);
    // Prometheus itself has `up` for each target.
    expect(queried.filter((name) => name !== "up" && !names.includes(name))).toEqual([]);
  }
});
