/** Several processes on one port (WORKERS). */
import { expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import {
  client,
  command,
  emptyFolder,
  freePort,
  postgresIn,
  rounds,
  type Serving,
  serve,
} from "../support/program.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(60_000 + rounds * 15_000);
const PASSWORD = "correct horse battery staple";

/** The parent of a process, and the seconds of CPU that it has used (proc(5)). */
function statOf(pid: number) {
  const [, rest = ""] = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ");
  const fields = rest.split(" ");
  return { parent: Number(fields[1]), seconds: (Number(fields[11]) + Number(fields[12])) / 100 };
}

function workersOf({ pid }: Serving): number[] {
  const isWorker = (one: number) => {
    try {
      const words = readFileSync(`/proc/${one}/cmdline`, "utf8").split("\0");
      return statOf(one).parent === pid && words.includes("__worker");
    } catch {
      return false;
    }
  };
  return readdirSync("/proc")
    .map(Number)
    .filter((one) => one > 0 && isWorker(one));
}

/** Each on its own connection: the kernel distributes connections, not requests. */
const ask = (url: string, headers: Record<string, string> = {}) =>
  fetch(url, { headers: { connection: "close", ...headers } });

const registered = async ({ url }: Serving, count: number, name = "person") => {
  const answers = Array.from({ length: count }, (_, at) =>
    client(url).register(`${name}${at}@example.com`, PASSWORD),
  );
  return (await Promise.all(answers)).map(({ status }) => status);
};
const env = { RATE_LIMIT: "off", PASSWORD_HASH: "m=7168,t=5" };

test("three processes share the requests, the data and the metrics", async () => {
  const metricsPort = String(await freePort());
  const server = await serve({
    cwd: emptyFolder(),
    env: { ...env, WORKERS: "3", METRICS_PORT: metricsPort },
  });
  await until(() => server.said.out.includes("Try"));
  const workers = workersOf(server);
  expect(workers).toHaveLength(2);
  const before = workers.map((pid) => statOf(pid).seconds);
  for (const name of ["person", "people"])
    expect(await registered(server, 30, name)).toEqual(Array.from({ length: 30 }, () => 201));
  workers.forEach((pid, at) => {
    expect(statOf(pid).seconds - (before[at] ?? 0)).toBeGreaterThan(0.05);
  });
  const asked = await Promise.all(Array.from({ length: 40 }, () => ask(`${server.url}/version`)));
  expect(asked.every(({ ok }) => ok)).toBe(true);

  const count = async () => {
    const metricsText = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
    const [, total] = /_count\{[^}]*"\/version"[^}]*\} (\d+)/.exec(metricsText) ?? [];
    return {
      total: Number(total),
      ready: /bunker_ready\{check="database"\} (\d)/.exec(metricsText)?.[1],
    };
  };
  expect(await count()).toEqual({ total: 40, ready: "1" });
  // The counts of a process remain after it has ended.
  process.kill(workers[0] ?? 0, "SIGKILL");
  await until(() => server.said.err.includes("Worker process exited; starting another one."));
  expect(server.said.err).toContain(`"worker_pid":${workers[0]},`);
  await until(() => workersOf(server).length === 2);
  expect(await count()).toEqual({ total: 40, ready: "1" });
  const present = workersOf(server);
  expect(present).toHaveLength(2);
  expect(await server.end("SIGTERM")).toBe(0);
  expect([...workers, ...present].filter(isAlive)).toEqual([]);
});

/** A process that has ended is still listed until its parent waits for it. */
const isAlive = (pid: number) => {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
};

test("each process returns the metrics of all, with the token", async () => {
  const token = "3f1c9a7be2d84c60a5f7d19e0b6c83d2";
  const server = await serve({
    cwd: emptyFolder(),
    env: { ...env, WORKERS: "2", METRICS_TOKEN: token },
  });
  await until(() => server.said.out.includes("Try"));
  for (let round = 0; round < 20; round++) await (await ask(`${server.url}/version`)).text();
  for (let round = 0; round < 8; round++) {
    const answer = await ask(`${server.url}/metrics`, { authorization: `Bearer ${token}` });
    expect(await answer.text()).toMatch(/_count\{[^}]*"\/version"[^}]*\} 20\n/);
  }
});

test("a shutdown answers the requests in flight in each process", async () => {
  const server = await serve({ cwd: emptyFolder(), env: { ...env, WORKERS: "3" } });
  await until(() => server.said.out.includes("Try"));
  const answers = Array.from({ length: 12 }, (_, at) =>
    client(server.url).register(`person${at}@example.com`, PASSWORD),
  );
  // When the first gets its response, all have arrived, and most wait for hashing.
  await Promise.race(answers);
  expect(await server.end("SIGTERM")).toBe(0);
  const statuses = (await Promise.all(answers)).map(({ status }) => status);
  expect(statuses).toEqual(answers.map(() => 201));
});

test(`kill -9 of the primary process ends all, and loses nothing: ${rounds} rounds`, async () => {
  const cwd = emptyFolder();
  const port = String(await freePort());
  for (let round = 0; round < rounds; round++) {
    const server = await serve({ cwd, env: { ...env, WORKERS: "2", PORT: port } });
    const name = `round${round}-`;
    expect(await registered(server, 4, name)).toEqual([201, 201, 201, 201]);
    await server.end("SIGKILL");
    const again = await serve({ cwd, env: { ...env, WORKERS: "2", PORT: port } });
    for (let at = 0; at < 4; at++)
      expect(await client(again.url).logIn(`${name}${at}@example.com`, PASSWORD)).toContain(".");
    expect(await again.end("SIGTERM")).toBe(0);
  }
  expect(postgresIn(cwd)).toEqual([]);
});

test("after kill -9 of the embedded database, all processes recover", async () => {
  const cwd = emptyFolder();
  const server = await serve({ cwd, env: { ...env, WORKERS: "3" } });
  await until(() => server.said.out.includes("Try"));
  expect(await registered(server, 6)).toEqual([201, 201, 201, 201, 201, 201]);
  const [postmaster = 0] = postgresIn(cwd);
  expect(postmaster).toBeGreaterThan(1);
  process.kill(postmaster, "SIGKILL");
  // Each on its own connection, so that every process gets one.
  const ready = () => Promise.all(Array.from({ length: 24 }, () => ask(`${server.url}/readyz`)));
  await until(async () => (await ready()).every(({ ok }) => ok));
  for (let at = 0; at < 6; at++)
    expect(await client(server.url).logIn(`person${at}@example.com`, PASSWORD)).toContain(".");
  expect(await registered(server, 6, "later")).toEqual([201, 201, 201, 201, 201, 201]);
  expect(await server.end("SIGTERM")).toBe(0);
});

test("a second signal ends all processes at once", async () => {
  const env = { WORKERS: "3", SHUTDOWN_DELAY_SECONDS: "300" };
  const server = await serve({ cwd: emptyFolder(), env });
  await until(() => server.said.out.includes("Try"));
  const workers = workersOf(server);
  const ending = server.end("SIGTERM");
  await until(() => server.said.err.split("Shutting down").length === 4);
  const ended = server.said.err.matchAll(/"pid":(\d+),[^\n]*Shutting down/g);
  const pids = Array.from(ended, ([, pid]) => Number(pid));
  expect(pids.toSorted()).toEqual([server.pid, ...workers].toSorted());
  process.kill(server.pid, "SIGTERM");
  expect(await ending).toBe(null);
  await until(() => workers.filter(isAlive).length === 0, 1_000);
});

test("SIGHUP to all processes at once ends none", async () => {
  const server = await serve({ cwd: emptyFolder(), env: { WORKERS: "3" } });
  await until(() => server.said.out.includes("Try"));
  const workers = workersOf(server);
  for (const pid of [server.pid, ...workers]) process.kill(pid, "SIGHUP");
  await until(() => server.said.err.split("Settings reloaded.").length === 4);
  expect(workersOf(server).toSorted()).toEqual(workers.toSorted());
  expect(await server.end("SIGTERM")).toBe(0);
});

test(`a shutdown right after the end of a worker is clean: ${rounds} rounds`, async () => {
  const cwd = emptyFolder();
  for (let round = 0; round < rounds; round++) {
    const server = await serve({ cwd, env: { WORKERS: "4" } });
    await until(() => server.said.out.includes("Try"));
    const workers = workersOf(server);
    expect(workers).toHaveLength(3);
    for (const pid of workers.slice(0, 2)) process.kill(pid, "SIGKILL");
    await sleep(round % 12);
    expect([await server.end("SIGTERM"), server.said.err]).toEqual([
      0,
      expect.not.stringContaining("Unexpected error"),
    ]);
  }
});

test("a port that another program uses is not shared", async () => {
  const server = await serve({ cwd: emptyFolder(), env: { WORKERS: "2" } });
  for (const WORKERS of ["1", "2"]) {
    const run = {
      cwd: emptyFolder(),
      env: { HOST: "127.0.0.1", PORT: new URL(server.url).port, WORKERS },
    };
    const { code, err } = await command(["serve"], run);
    expect([code, err]).toEqual([1, expect.stringContaining("Cannot listen on 127.0.0.1")]);
  }
});
