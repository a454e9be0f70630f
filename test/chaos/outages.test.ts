/** Outages of the database: no request waits long, and Bunker recovers without a restart. */
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "../../src/db/db.ts";
import { type FaultyProxy, openFaultyProxy } from "../support/faulty-proxy.ts";
import { client, emptyFolder, freePort, rounds, type Serving, serve } from "../support/program.ts";

setDefaultTimeout(120_000);
const PASSWORD = "correct horse battery staple";
const home = process.env["E2E_DATABASE_URL"];
/** The promised time, with a margin for a busy machine. */
const ANSWER_MAX_MS = 5_500;
const REFUSAL_MAX_MS = 1_500;
const AT_ONCE = 20;

const name = `bunker_e2e_outages_${process.pid}`;
const admin = home ? connect({ url: home, caFile: undefined }, { max: 1 }) : undefined;
const faultyProxies: FaultyProxy[] = [];
afterAll(async () => {
  for (const faultyProxy of faultyProxies) faultyProxy.close();
  await admin?.unsafe(`drop database if exists ${name} with (force)`);
  await admin?.end();
});

async function behindProxy() {
  await admin?.unsafe(`drop database if exists ${name} with (force)`);
  await admin?.unsafe(`create database ${name}`);
  const url = new URL(home ?? "");
  const faultyProxy = await openFaultyProxy({ host: url.hostname, port: Number(url.port || 5432) });
  faultyProxies.push(faultyProxy);
  const DATABASE_URL = Object.assign(url, {
    pathname: `/${name}`,
    port: String(faultyProxy.port),
  }).href;
  const METRICS_PORT = String(await freePort());
  const server = await serve({
    cwd: emptyFolder(),
    env: {
      DATABASE_URL,
      METRICS_PORT,
      SECRET_KEY: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
      PUBLIC_URL: "https://accounts.example.com",
      // Each request reads the database.
      PRINCIPAL_CACHE_SIZE: "0",
      RATE_LIMIT: "off",
      LOG_ACCESS: "off",
    },
  });
  const api = client(server.url);
  await api.register("ada@example.com", PASSWORD);
  const token = await api.logIn("ada@example.com", PASSWORD);
  const metricsText = async () => (await fetch(`http://127.0.0.1:${METRICS_PORT}/metrics`)).text();
  return { faultyProxy, server, token, metricsText };
}

/**
 * Sends requests over many connections until it is stopped. Returns the statuses and slow requests.
 */
function startAsking({ url }: Serving, token: string, answerMaxMs = ANSWER_MAX_MS) {
  const statuses = new Map<number, number>();
  const hung: string[] = [];
  const plain: string[] = [];
  let isOver = false;
  const ask = async (path: string, init: RequestInit) => {
    const signal = AbortSignal.timeout(answerMaxMs);
    try {
      const answer = await fetch(`${url}${path}`, { ...init, signal });
      const { code } = (await answer.json()) as { code?: string };
      statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
      const isWaitTold = answer.headers.get("retry-after") !== null;
      if (answer.status === 503 && (code !== "database_unavailable" || !isWaitTold))
        plain.push(`${path}: ${code}`);
    } catch (error) {
      hung.push(`${path}: ${error}`);
    }
  };
  const headers = { authorization: `Bearer ${token}` };
  const signIn = {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ username: "nobody@example.com", password: PASSWORD }),
  };
  /** One transaction each. */
  const rename = (at: number) => ({
    method: "PATCH",
    headers: { ...headers, "content-type": "application/json" },
    body: JSON.stringify({ full_name: `Ada ${at}` }),
  });
  const askForEver = async (at: number) => {
    while (!isOver) {
      if (at % 4 === 0) await ask("/api/v1/auth/login", signIn);
      else if (at % 4 === 1) await ask("/api/v1/users/me", rename(at));
      else await ask("/api/v1/users/me", { headers });
      await sleep(10);
    }
  };
  const asking = Array.from({ length: AT_ONCE }, (_, at) => askForEver(at));
  return {
    statuses,
    end: async () => {
      isOver = true;
      await Promise.all(asking);
      return { hung, plain, statuses: [...statuses.keys()].sort() };
    },
  };
}

const statusOf = async ({ url }: Serving, path: string) => (await fetch(`${url}${path}`)).status;

/** How long until the user can be read again, in milliseconds. */
async function untilBack({ url }: Serving, token: string): Promise<number> {
  const from = performance.now();
  const headers = { authorization: `Bearer ${token}` };
  while (!(await fetch(`${url}/api/v1/users/me`, { headers })).ok) await sleep(10);
  return performance.now() - from;
}

const BACK_MAX_MS = 2_000;
const outages = {
  "refuses every connection": {
    seconds: 4,
    answerMaxMs: REFUSAL_MAX_MS,
    begin: (faultyProxy: FaultyProxy) => faultyProxy.refuse(),
  },
  "closes new connections": {
    seconds: 4,
    answerMaxMs: REFUSAL_MAX_MS,
    begin: (faultyProxy: FaultyProxy) => faultyProxy.dropNew(),
  },
  "stops responding": {
    seconds: 20,
    answerMaxMs: ANSWER_MAX_MS,
    begin: (faultyProxy: FaultyProxy) => faultyProxy.freeze(),
  },
};

describe.if(home !== undefined)("while the database", () => {
  for (const [what, { seconds, answerMaxMs, begin }] of Object.entries(outages))
    test(`${what}, requests get 503, and Bunker recovers with the database`, async () => {
      const { faultyProxy, server, token, metricsText } = await behindProxy();
      const load = startAsking(server, token, answerMaxMs);
      await sleep(500);
      begin(faultyProxy);
      await sleep(1_500);
      expect(await statusOf(server, "/livez")).toBe(200);
      expect(await statusOf(server, "/readyz")).toBe(503);
      const known = await metricsText();
      expect(known).toContain('bunker_ready{check="database"} 0');
      expect(known).not.toMatch(/^bunker_(database_size_bytes|mails_waiting) /m);
      await sleep((seconds - 1.5) * 1000);
      await faultyProxy.open();
      expect(await untilBack(server, token)).toBeLessThan(BACK_MAX_MS);
      await sleep(500);
      const { hung, plain, statuses } = await load.end();
      expect({ hung, plain }).toEqual({ hung: [], plain: [] });
      expect(statuses).toEqual([200, 401, 503]);
      expect(await statusOf(server, "/readyz")).toBe(200);
      expect(await server.end("SIGTERM")).toBe(0);
      // Once each, however many requests there are.
      expect(server.said.err.match(/"part":"database".*Not ready/g)).toHaveLength(1);
      expect(server.said.err.match(/"part":"database".*Ready again/g)).toHaveLength(1);
    });

  test("drops connections silently, as a firewall does, new connections replace them", async () => {
    const { faultyProxy, server, token } = await behindProxy();
    const load = startAsking(server, token);
    await sleep(500);
    faultyProxy.stall();
    await sleep(500);
    // The database cancels a statement after five seconds. One second later, the connection is
    // dead.
    expect(await untilBack(server, token)).toBeLessThan(8_000);
    const { hung, plain } = await load.end();
    expect({ hung, plain }).toEqual({ hung: [], plain: [] });
    expect(await server.end("SIGKILL")).toBe(null);
  });

  test("ends each session repeatedly under load, no connection is lost for good", async () => {
    const { faultyProxy, server, token } = await behindProxy();
    const load = startAsking(server, token);
    for (let round = 0; round < 3 * rounds; round += 1) {
      await sleep(Math.random() * 500);
      faultyProxy.cut();
    }
    for (let round = 0; round < 3 * rounds; round += 1) {
      await sleep(Math.random() * 500);
      await admin?.unsafe(
        `select pg_terminate_backend(pid) from pg_stat_activity where datname = '${name}'`,
      );
    }
    expect(await untilBack(server, token)).toBeLessThan(BACK_MAX_MS);
    const { hung, plain } = await load.end();
    expect({ hung, plain }).toEqual({ hung: [], plain: [] });
    // If a connection was lost, some of these would wait for it.
    const headers = { authorization: `Bearer ${token}` };
    const answers = await Promise.all(
      Array.from({ length: 200 }, () => fetch(`${server.url}/api/v1/users/me`, { headers })),
    );
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    for (const line of server.said.err.split("\n")) if (line !== "") JSON.parse(line);
    expect(await server.end("SIGTERM")).toBe(0);
  });
});
