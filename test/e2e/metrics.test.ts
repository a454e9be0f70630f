import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { once } from "node:events";
import { connect as dial } from "node:net";
import { join } from "node:path";
import { type Metric, metricList } from "../../src/kit/metric-list.ts";
import { needs } from "../support/needs.ts";
import { client, command, emptyFolder, freePort, serve, usedFolder } from "../support/program.ts";

setDefaultTimeout(60_000);
const PASSWORD = "correct horse battery staple";
const METRICS_TOKEN = "3ac1f0c4b9d94e6f8a7b5c2d1e0f9a8b7c6d5e4f3a2b1c0d";

/** A server with a metrics listener, and what that serves: each series and its value. */
async function scraped(env: Record<string, string> = {}) {
  const METRICS_PORT = String(await freePort());
  const server = await serve({ cwd: await usedFolder(), env: { METRICS_PORT, ...env } });
  const metricsUrl = `http://127.0.0.1:${METRICS_PORT}`;
  const text = async () => (await fetch(`${metricsUrl}/metrics`)).text();
  const series = async () =>
    new Map(
      (await text())
        .split("\n")
        .filter((line) => line !== "" && !line.startsWith("#"))
        .map((line): [string, number] => {
          const at = line.lastIndexOf(" ");
          return [line.slice(0, at), Number(line.slice(at + 1))];
        }),
    );
  return { server, metricsUrl, api: client(server.url), text, series };
}

const countOf = (method: string, route: string, status: number) =>
  `http_request_duration_seconds_count{method="${method}",route="${route}",status="${status}"}`;

test("responses, sign-ins, rate limits, hashes and the principal cache are counted", async () => {
  const { server, metricsUrl, api, series, text } = await scraped();
  await api.register("ada@example.com", PASSWORD);
  const token = await api.logIn("ada@example.com", PASSWORD);
  for (let time = 0; time < 31; time += 1) await api.logIn("bob@example.com", "wrong");
  await api.get("/users/me", token);
  await api.get("/users/me", token);
  const found = Object.fromEntries(await series());
  expect(found).toMatchObject({
    [countOf("GET", "/api/v1/users/me", 200)]: 2,
    [countOf("POST", "/api/v1/auth/register", 201)]: 1,
    'bunker_sign_in_attempts_total{method="password",result="success"}': 1,
    'bunker_sign_in_attempts_total{method="password",result="invalid_credentials"}': 10,
    'bunker_sign_in_attempts_total{method="password",result="too_many_requests"}': 21,
    'bunker_rate_limited_requests_total{limit="login"}': 21,
    'bunker_problems_total{code="invalid_credentials"}': 10,
    'bunker_password_hashes_total{result="completed"}': 12,
    'bunker_principal_cache_lookups_total{result="hit"}': 1,
    'bunker_principal_cache_lookups_total{result="miss"}': 1,
    'bunker_ready{check="database"}': 1,
    'bunker_database_connections{state="connecting"}': 0,
    bunker_password_hashes_running: 0,
    http_requests_in_flight: 0,
  });
  for (const name of [
    "bunker_database_size_bytes",
    "bunker_data_dir_free_bytes",
    "bunker_embedded_database_restarts_total",
    "bunker_database_statements_queued",
    "bunker_mails_queued",
    "bunker_principal_cache_entries",
    "nodejs_eventloop_lag_p99_seconds",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
  ])
    expect([name, typeof found[name]]).toEqual([name, "number"]);
  expect(Object.keys(found)).toContain(
    'bunker_job_duration_seconds_count{job_name="maintain keys",result="success"}',
  );
  expect(await text()).not.toMatch(/ada|bob|example/);
  // The metrics listener serves nothing else, and the API does not serve metrics.
  expect((await fetch(`${metricsUrl}/livez`)).status).toBe(404);
  expect((await fetch(`${server.url}/metrics`)).status).toBe(404);
});

test("a scrape has the metrics of the list, with their types, help and labels, and no others", async () => {
  // There is no Redis and no message queue, but their metrics are served.
  const { api, series, text } = await scraped({
    REDIS_URL: "redis://127.0.0.1:1",
    BROKER_URL: "nats://127.0.0.1:1",
  });
  await api.register("ada@example.com", PASSWORD);
  await api.logIn("ada@example.com", "wrong");
  const lines = (await text()).split("\n");
  const served = (kind: string) =>
    Object.fromEntries(
      lines.flatMap((line) => {
        const [, name, rest] = new RegExp(`^# ${kind} (\\S+) (.*)$`).exec(line) ?? [];
        return name ? [[name, rest]] : [];
      }),
    );
  const metrics = Object.entries<Metric>(metricList);
  expect(served("TYPE")).toEqual(
    Object.fromEntries(metrics.map(([name, { type }]) => [name, type])),
  );
  expect(served("HELP")).toEqual(
    Object.fromEntries(metrics.map(([name, { help }]) => [name, help])),
  );
  for (const key of (await series()).keys()) {
    const [, name = "", labels = ""] =
      /^(\w+?)(?:_bucket|_count|_sum)?(?:\{(.*)\})?$/.exec(key) ?? [];
    const declared = Object.keys(metrics.find(([one]) => one === name)?.[1].labels ?? {});
    const given = [...labels.matchAll(/(\w+)="/g)].map(([, label]) => label);
    expect([key, given.filter((label) => label !== "le")]).toEqual([key, declared]);
  }
  const page = await Bun.file(join(import.meta.dir, "../../docs/metrics.md")).text();
  for (const name of Object.keys(served("TYPE"))) expect(page).toContain(`| \`${name}\` |`);
});

needs("prometheus", Bun.which("promtool") !== null).test(
  "promtool accepts the metrics",
  async () => {
    const { text } = await scraped();
    const { exitCode, stdout, stderr } = Bun.spawnSync(["promtool", "check", "metrics"], {
      stdin: new Blob([await text()]),
    });
    expect([exitCode, `${stdout}${stderr}`]).toEqual([0, ""]);
  },
);

/** The status line of the response to a raw request. */
async function statusLine(url: string, request: string) {
  const socket = dial(Number(new URL(url).port), "127.0.0.1");
  socket.write(request);
  const [answer] = await once(socket, "data");
  socket.destroy();
  return String(answer).split("\r\n")[0];
}

test("on a loopback IP, the metrics listener accepts only local host names (DNS rebinding)", async () => {
  const { metricsUrl } = await scraped();
  const ask = (host: string) =>
    statusLine(metricsUrl, `GET /metrics HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
  expect(await ask("evil.example:9464")).toBe("HTTP/1.1 403 Forbidden");
  expect(await ask("localhost:9464")).toBe("HTTP/1.1 200 OK");
});

test("on other IPs, the metrics listener accepts any valid Host, and only GET /metrics", async () => {
  const { metricsUrl, server } = await scraped({ METRICS_HOST: "0.0.0.0" });
  const ask = (request: string) => statusLine(metricsUrl, request);
  expect(await ask("GET /metrics HTTP/1.1\r\nHost: a:99999\r\n\r\n")).toBe("HTTP/1.1 200 OK");
  expect(await ask("GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\n")).toBe("HTTP/1.1 200 OK");
  for (const host of ["[", "a b", "a\r\nHost: b"])
    expect(await ask(`GET /metrics HTTP/1.1\r\nHost: ${host}\r\n\r\n`)).toBe(
      "HTTP/1.1 400 Bad Request",
    );
  expect(await ask("GET //metrics HTTP/1.1\r\nHost: a\r\n\r\n")).toBe("HTTP/1.1 404 Not Found");
  expect(await ask("POST /metrics HTTP/1.1\r\nHost: a\r\n\r\n")).toBe("HTTP/1.1 404 Not Found");
  expect(server.said.err).not.toContain("TypeError");
});

test("made-up paths, methods and headers add no series", async () => {
  const { server, series } = await scraped({ LOG_ACCESS: "off" });
  const ask = (at: number) =>
    fetch(`${server.url}/${at % 2 ? "made-up" : "api/v1/users"}/${at}?q=${at}`, {
      method: ["GET", "PUT", "PURGE", "MKCOL"][at % 4] ?? "GET",
      headers: { "user-agent": `made up ${at}`, "x-request-id": `made up ${at}` },
    });
  const round = async (from: number) => {
    for (let at = from; at < from + 1_000; at += 20)
      await Promise.all(Array.from({ length: 20 }, (_, more) => ask(at + more)));
    // A job has series from its first run.
    return [...(await series()).keys()].filter((name) => !name.startsWith("bunker_job_")).length;
  };
  const before = await round(0);
  expect(await round(1_000)).toBe(before);
  expect(await round(2_000)).toBe(before);
});

test("/metrics on the API requires METRICS_TOKEN as the bearer token", async () => {
  const server = await serve({ cwd: await usedFolder(), env: { METRICS_TOKEN } });
  const api = client(server.url);
  await api.register("ada@example.com", PASSWORD);
  const accessToken = await api.logIn("ada@example.com", PASSWORD);
  const ask = (authorization?: string) =>
    fetch(`${server.url}/metrics`, { headers: authorization ? { authorization } : {} });
  const anonymous = await ask();
  expect([anonymous.status, anonymous.headers.get("www-authenticate")]).toEqual([
    401,
    'Bearer realm="bunker"',
  ]);
  for (const wrong of [accessToken, METRICS_TOKEN.slice(1), `${METRICS_TOKEN}x`])
    expect((await ask(`Bearer ${wrong}`)).status).toBe(401);
  const right = await ask(`Bearer ${METRICS_TOKEN}`);
  expect([right.status, right.headers.get("content-type")]).toEqual([
    200,
    "text/plain; version=0.0.4; charset=utf-8",
  ]);
  expect(await right.text()).toContain("# TYPE http_request_duration_seconds histogram");
});

describe("invalid settings", () => {
  test("stop the start, and the message names them", async () => {
    for (const [env, words] of [
      [{ METRICS_TOKEN: "sentinel" }, "METRICS_TOKEN needs"],
      [{ METRICS_HOST: "banana", METRICS_PORT: "9464" }, "METRICS_HOST must be an IP"],
      [{ METRICS_HOST: "1.2.3.4", METRICS_PORT: "9464" }, "METRICS_HOST must be an IP"],
      [{ HOST: "/tmp/socket" }, "HOST must be an IP"],
      [{ HOST: "nowhere.invalid" }, "HOST must be an IP"],
    ] as const) {
      const { code, err } = await command(["serve"], { cwd: emptyFolder(), env });
      expect([code, err]).toEqual([78, expect.stringContaining(words)]);
      expect(err).not.toContain("sentinel");
    }
  });

  test("a port in use is reported with its setting", async () => {
    const { server } = await scraped();
    const env = { PORT: String(await freePort()), METRICS_PORT: new URL(server.url).port };
    const { code, err } = await command(["serve"], { cwd: await usedFolder(), env });
    expect([code, err]).toEqual([1, expect.stringMatching(/^Cannot listen .*METRICS_PORT/m)]);
    // Work that was in progress must not log errors.
    expect(err).not.toContain('"level":"error"');
  });
});
