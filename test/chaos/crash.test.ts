import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
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

setDefaultTimeout(600_000);
const PASSWORD = "correct horse battery staple";

/**
 * Registers users, four at a time, until it is stopped or the server is gone. Returns the emails of
 * acknowledged registrations.
 */
function startRegistering(url: string, prefix: string, { mayExit }: { mayExit: boolean }) {
  const acknowledged: string[] = [];
  let isOver = false;
  const write = async (lane: number) => {
    for (let at = 0; !isOver; at += 1) {
      const email = `${prefix}-${lane}-${at}@example.com`;
      try {
        if (await isRegistered(url, email)) acknowledged.push(email);
      } catch (error) {
        isOver = true;
        if (!mayExit || !isGone(error)) throw error;
      }
    }
  };
  const writing = Promise.all([0, 1, 2, 3].map(write));
  return {
    soFar: () => acknowledged.length,
    acknowledged: async () => {
      await writing;
      return acknowledged;
    },
    stop: () => {
      isOver = true;
    },
  };
}

/** Acknowledged, or to be retried: there is no third response. */
async function isRegistered(url: string, email: string): Promise<boolean> {
  const answer = await client(url).register(email, PASSWORD);
  if (answer.status !== 201)
    expect([answer.status, answer.headers.get("retry-after")]).toEqual([503, "2"]);
  return answer.status === 201;
}

const isGone = (error: unknown) =>
  ["ECONNRESET", "ECONNREFUSED"].includes((error as NodeJS.ErrnoException).code ?? "");

/** Thousands of users register from one client IP here. */
const unlimited = { RATE_LIMIT: "off" };

const listed = async (cwd: string) => (await command(["users", "list"], { cwd })).out;
const killAll = (pids: number[]) => {
  for (const pid of pids) process.kill(pid, "SIGKILL");
};
const moment = () => sleep(200 + 800 * Math.random());

describe("no acknowledged registration is lost", () => {
  const ways: Record<string, (server: Serving, cwd: string) => Promise<unknown>> = {
    "kill -9 of the server": (server) => server.end("SIGKILL"),
    "kill -9 of the whole tree": async (server, cwd) => {
      process.kill(server.pid, "SIGSTOP");
      killAll(postgresIn(cwd));
      return server.end("SIGKILL");
    },
    "kill -9 of the process group": (server) => {
      process.kill(-server.pid, "SIGKILL");
      return server.end("SIGKILL");
    },
  };
  for (const [way, kill] of Object.entries(ways))
    test(`by ${way}, ${rounds} rounds`, async () => {
      const cwd = emptyFolder();
      const acknowledged: string[] = [];
      for (let round = 0; round < rounds; round += 1) {
        const server = await serve({ cwd, env: unlimited, isGroup: true });
        const registering = startRegistering(server.url, `r${round}`, { mayExit: true });
        await moment();
        await kill(server, cwd);
        acknowledged.push(...(await registering.acknowledged()));
      }
      const kept = await listed(cwd);
      expect(acknowledged.length).toBeGreaterThan(rounds);
      expect(acknowledged.filter((email) => !kept.includes(email))).toEqual([]);
      expect(postgresIn(cwd)).toEqual([]);
      process.stdout.write(
        `${way}: ${rounds} rounds, ${acknowledged.length} acknowledged, 0 lost\n`,
      );
    });

  test(`by kill -9 of PostgreSQL, ${rounds} rounds, and the server comes back by itself`, async () => {
    const cwd = emptyFolder();
    const METRICS_PORT = String(await freePort());
    const server = await serve({ cwd, env: { ...unlimited, METRICS_PORT } });
    const metricsText = async () =>
      (await fetch(`http://127.0.0.1:${METRICS_PORT}/metrics`)).text();
    const restarts = (count: number) => `bunker_embedded_database_restarts_total ${count}\n`;
    const acknowledged: string[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const registering = startRegistering(server.url, `r${round}`, { mayExit: false });
      await moment();
      killAll(postgresIn(cwd).slice(0, 1));
      while (!(await metricsText()).includes(restarts(round + 1))) await sleep(20);
      await untilReady(server.url);
      const before = registering.soFar();
      const backBy = performance.now() + 10_000;
      while (registering.soFar() === before && performance.now() < backBy) await sleep(20);
      expect(registering.soFar()).toBeGreaterThan(before);
      registering.stop();
      acknowledged.push(...(await registering.acknowledged()));
    }
    const kept = await listed(cwd);
    expect(acknowledged.length).toBeGreaterThan(rounds);
    // A reload does not count a restart again.
    process.kill(server.pid, "SIGHUP");
    while (!server.said.err.includes("Settings reloaded.")) await sleep(20);
    await sleep(200);
    expect(await metricsText()).toContain(restarts(rounds));
    expect(acknowledged.filter((email) => !kept.includes(email))).toEqual([]);
    expect(await server.end("SIGTERM")).toBe(0);
    expect(postgresIn(cwd)).toEqual([]);
  });
});

async function untilReady(url: string): Promise<void> {
  const backBy = performance.now() + 10_000;
  while (!(await fetch(`${url}/readyz`)).ok) {
    if (performance.now() > backBy) throw new Error("the database did not come back");
    await sleep(20);
  }
}

test(`kill -9 during the first start leaves nothing that blocks the next, ${rounds} rounds`, async () => {
  for (let round = 0; round < rounds; round += 1) {
    const cwd = emptyFolder();
    const env = { PORT: String(await freePort()) };
    const starting = serve({ cwd, env }).catch(() => undefined);
    await sleep(80 + 900 * Math.random());
    const holder = readHolder(cwd);
    if (holder) process.kill(holder, "SIGKILL");
    // Too early for a holder. By now it may serve: then kill it at this moment.
    await (await starting)?.end("SIGKILL");
    const server = await serve({ cwd, env });
    expect((await client(server.url).register("ada@example.com", PASSWORD)).status).toBe(201);
    expect(await server.end("SIGTERM")).toBe(0);
  }
});

function readHolder(cwd: string): number | undefined {
  try {
    return JSON.parse(readFileSync(join(cwd, "data/bunker.lock"), "utf8")).pid;
  } catch {
    return undefined;
  }
}

test("a frozen database gives 503 soon, and the server keeps running", async () => {
  const cwd = emptyFolder();
  const server = await serve({ cwd, env: unlimited });
  const { register } = client(server.url);
  await register("ada@example.com", PASSWORD);
  const frozen = postgresIn(cwd);
  for (const pid of frozen) process.kill(pid, "SIGSTOP");
  try {
    expect((await fetch(`${server.url}/readyz`)).status).toBe(503);
    expect((await fetch(`${server.url}/livez`)).status).toBe(200);
  } finally {
    for (const pid of frozen) process.kill(pid, "SIGCONT");
  }
  expect((await register("bob@example.com", PASSWORD)).status).toBe(201);
});
