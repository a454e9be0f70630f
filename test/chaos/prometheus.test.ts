/**
 * The alerts and the dashboard of `deploy/`, in Debian's prometheus, against a server under load.
 */
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { client, emptyFolder, freePort, serve, usedFolder } from "../support/program.ts";

setDefaultTimeout(120_000);
const PASSWORD = "correct horse battery staple";
const deploy = join(import.meta.dir, "../../deploy");
const prometheus = Bun.which("prometheus");
const rulesText = readFileSync(join(deploy, "prometheus/bunker.rules.yml"), "utf8");
const dashboard = JSON.parse(readFileSync(join(deploy, "grafana/bunker.json"), "utf8")) as {
  panels: { title: string; targets: { expr: string }[] }[];
};

const started: ChildProcess[] = [];
afterAll(() => {
  for (const child of started) child.kill("SIGKILL");
});

/** The configuration of `deploy/`, for one server, with a scrape every second. */
function configure(target: string): string {
  const folder = emptyFolder();
  cpSync(join(deploy, "prometheus"), folder, { recursive: true });
  const file = join(folder, "prometheus.yml");
  const text = readFileSync(file, "utf8");
  writeFileSync(file, text.replace("api:9464", target).replaceAll("interval: 15s", "interval: 1s"));
  return folder;
}

async function startPrometheus(folder: string) {
  const port = await freePort();
  const child = spawn(
    prometheus ?? "",
    [
      `--config.file=${join(folder, "prometheus.yml")}`,
      `--storage.tsdb.path=${join(folder, "data")}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    { stdio: "ignore" },
  );
  started.push(child);
  const ask = async (path: string) => {
    const answer = await fetch(`http://127.0.0.1:${port}/api/v1/${path}`).catch(() => undefined);
    // biome-ignore lint/suspicious/noExplicitAny: the test reads only the members that it expects
    return answer?.ok ? ((await answer.json()) as any).data : undefined;
  };
  const query = async (expr: string): Promise<unknown[] | undefined> =>
    (await ask(`query?query=${encodeURIComponent(expr)}`))?.result;
  return { ask, query };
}

describe.if(prometheus !== null)("in Debian's prometheus", () => {
  test("every query of the dashboard returns data, and every alert is evaluated", async () => {
    const METRICS_PORT = String(await freePort());
    const server = await serve({
      cwd: await usedFolder(),
      // No Redis and no message queue is there: queries about them return data all the same.
      env: {
        METRICS_PORT,
        LOG_ACCESS: "off",
        BUNKER_ENV: "development",
        REDIS_URL: "redis://127.0.0.1:1",
        BROKER_URL: "nats://127.0.0.1:1",
      },
    });
    const folder = configure(`127.0.0.1:${METRICS_PORT}`);
    const checked = spawnSync("promtool", ["check", "config", join(folder, "prometheus.yml")]);
    expect([checked.status, String(checked.stderr)]).toEqual([0, ""]);
    const { ask, query } = await startPrometheus(folder);

    const api = client(server.url);
    await api.register("ada@example.com", PASSWORD);
    const token = await api.logIn("ada@example.com", PASSWORD);
    const work = async () => {
      await api.get("/users/me", token);
      await api.get("/nothing", token);
      await api.logIn("ada@example.com", "wrong");
    };
    const isSeen = async () =>
      (await query("rate(bunker_rate_limited_requests_total[10s]) > 0"))?.length;
    while (!(await isSeen())) {
      await work();
      await sleep(50);
    }
    await expectAnswers(query);
    await expectNames(query);
    await expectRules(ask);
    await server.end("SIGKILL");
    const noticed = async () =>
      (await rulesOf(ask)).find(({ name }) => name === "BunkerDown")?.state === "pending";
    while (!(await noticed())) await sleep(100);
  });
});

/** An alert on a metric that does not exist never fires, and its rule counts as healthy. */
async function expectNames(query: Prometheus["query"]): Promise<void> {
  const names = [...rulesText.matchAll(/\b(?:bunker|http|nodejs|process)_[a-z_0-9]+(?=\{)/g)];
  expect(names.length).toBeGreaterThan(10);
  for (const [name] of names)
    expect([name, (await query(`count({__name__="${name}"})`))?.length]).toEqual([name, 1]);
}

type Prometheus = Awaited<ReturnType<typeof startPrometheus>>;

async function expectAnswers(query: Prometheus["query"]): Promise<void> {
  const queries = dashboard.panels.flatMap(({ title, targets }) =>
    targets.map(({ expr }) => ({ title, expr: expr.replaceAll("$__rate_interval", "10s") })),
  );
  expect(queries.length).toBeGreaterThan(15);
  for (const { title, expr } of queries) {
    const found = await query(expr);
    expect([title, Array.isArray(found)]).toEqual([title, true]);
    expect([title, found?.length === 0]).toEqual([title, false]);
  }
}

// biome-ignore lint/suspicious/noExplicitAny: the test reads only the members that it expects
const rulesOf = async (ask: Prometheus["ask"]): Promise<any[]> =>
  (await ask("rules")).groups.flatMap(({ rules }: { rules: unknown[] }) => rules);

async function expectRules(ask: Prometheus["ask"]): Promise<void> {
  while ((await rulesOf(ask)).some(({ health }) => health === "unknown")) await sleep(100);
  const rules = await rulesOf(ask);
  expect(rules.map(({ name, health, lastError }) => [name, health, lastError])).toEqual(
    rules.map(({ name }) => [name, "ok", undefined]),
  );
  expect(rules.filter(({ state }) => state === "firing")).toEqual([]);
}
