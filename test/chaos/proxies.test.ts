/** Behind Caddy, nginx and haproxy with the files of `deploy/`. Only IPs, ports and TLS differ. */
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "../../src/db/db.ts";
import { METHODS } from "../../src/http/observers.ts";
import { type FaultyProxy, openFaultyProxy } from "../support/faulty-proxy.ts";
import { client, emptyFolder, freePort, serve } from "../support/program.ts";
import { pathOf, proxies, startProxy } from "../support/proxies.ts";
import { drip } from "../support/slow-client.ts";
import { openSocket, openSse } from "../support/streams.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(60_000);
const PASSWORD = "correct horse battery staple";
/** An IP of this machine, other than the proxy's. */
const VISITOR = "127.0.0.2";
/** The timeout in the files. */
const CUT_AFTER_MS = 15_000;

/** Longer than any timeout for silence in the files. */
const IDLE_MS = 65_000;

/** Some proxies notice that a client left when they send it a second heartbeat. */
const LEFT_MAX_MS = 35_000;

/** The interval of the health checks in the files. */
const NOTICED_MS = 3_000;
const ANSWERS_MAX_MS = 5_000;

const home = process.env["E2E_DATABASE_URL"];
const database = `bunker_e2e_proxies_${process.pid}`;
const admin = home ? connect({ url: home, caFile: undefined }, { max: 1 }) : undefined;
const faultyProxies: FaultyProxy[] = [];
afterAll(async () => {
  for (const faultyProxy of faultyProxies) faultyProxy.close();
  await admin?.unsafe(`drop database if exists ${database} with (force)`);
  await admin?.end();
});

async function databaseBehindProxy() {
  await admin?.unsafe(`drop database if exists ${database} with (force)`);
  await admin?.unsafe(`create database ${database}`);
  const url = new URL(home ?? "");
  const faultyProxy = await openFaultyProxy({ host: url.hostname, port: Number(url.port || 5432) });
  faultyProxies.push(faultyProxy);
  const there = { pathname: `/${database}`, port: String(faultyProxy.port) };
  return { faultyProxy, DATABASE_URL: Object.assign(url, there).href };
}

interface Said {
  status: number;
  body: string;
}

interface Asking {
  headers: Record<string, string>;
  body?: object;
}

/** Sends a request from the client's IP. */
const ask = (port: number, path: string, { body, headers }: Asking) =>
  new Promise<Said>((done, fail) => {
    const asked = request(
      {
        host: "127.0.0.1",
        port,
        path: `/api/v1${path}`,
        localAddress: VISITOR,
        method: body ? "POST" : "GET",
        headers: { "content-type": "application/json", ...headers },
      },
      (answer) => {
        let text = "";
        answer.on("data", (chunk) => {
          text += chunk;
        });
        answer.on("end", () => done({ status: answer.statusCode ?? 0, body: text }));
      },
    );
    asked.on("error", fail);
    asked.end(body ? JSON.stringify(body) : undefined);
  });

/** Sends `text`, then a byte each second. Returns the response and the time until it arrived. */
function dripped(port: number, text: string) {
  const { closed, end } = drip(port, text);
  setTimeout(end, 2 * CUT_AFTER_MS);
  return closed;
}

const HEAD = "POST /api/v1/auth/login HTTP/1.1\r\nHost: accounts.example.com\r\n";
const LONG = "Content-Type: application/json\r\nContent-Length: 4000\r\n\r\n{";

/** Stalls within a line, within the head and within the body. Returns the last response. */
async function expectCut(port: number): Promise<string> {
  const cut = await Promise.all(["GET / HT", HEAD, HEAD + LONG].map((text) => dripped(port, text)));
  expect(Math.max(...cut.map(({ ms }) => ms))).toBeLessThan(CUT_AFTER_MS);
  return cut[2]?.said ?? "";
}

const RESPONSE = /^HTTP\/1\.1 408 (.|\s)*"code":"request_timeout"/;

test("a slow client is disconnected, also without a proxy, and does not delay the shutdown", async () => {
  const server = await serve({ cwd: emptyFolder() });
  const port = Number(new URL(server.url).port);
  const me = "PATCH /api/v1/users/me HTTP/1.1\r\nHost: localhost\r\n";
  const token = "POST /oauth/token HTTP/1.1\r\nHost: localhost\r\n";
  const chunked = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n{";
  const form = LONG.replace("application/json", "application/x-www-form-urlencoded");
  const [response, ...others] = await Promise.all([
    expectCut(port),
    ...[HEAD + chunked, token + form, me + LONG].map((text) => dripped(port, text)),
  ]);
  expect(response).toMatch(RESPONSE);
  // A client that gets no response is disconnected as well.
  expect(others.map(({ said }) => said.slice(9, 12))).toEqual(["408", "408", "401"]);
  expect(Math.max(...others.map(({ ms }) => ms))).toBeLessThan(CUT_AFTER_MS);

  const late = dripped(port, HEAD + LONG);
  await sleep(1_000);
  const from = performance.now();
  expect(await server.end("SIGTERM")).toBe(0);
  expect(performance.now() - from).toBeWithin(5_000, CUT_AFTER_MS);
  expect((await late).said).toStartWith("HTTP/1.1 408 ");
});

/** Bunker behind a proxy, until the end of the tests. */
async function behind(name: string, env: Record<string, string> = {}) {
  const inside = await freePort();
  const server = await serve({
    cwd: emptyFolder(),
    env: { PORT: String(inside), TRUSTED_PROXIES: "127.0.0.1", ...env },
  });
  const outside = await startProxy(name, [inside]);
  return { server, outside, url: `http://127.0.0.1:${outside}` };
}

for (const name of Object.keys(proxies)) {
  describe.if(pathOf(name) !== undefined)(`behind ${name}`, () => {
    test("a client is identified by its own IP, whatever it sends, and a slow one is disconnected", async () => {
      const { server, outside } = await behind(name);
      const spoof = (n: number) => ({
        "x-forwarded-for": `198.51.100.${n}`,
        "x-real-ip": "10.1.1.1",
      });
      const statuses: number[] = [];
      for (let n = 0; n < 22; n += 1) {
        const body = { email: `p${n}@example.com`, password: PASSWORD };
        statuses.push((await ask(outside, "/auth/register", { headers: spoof(n), body })).status);
      }
      expect(statuses).toEqual([...Array(20).fill(201), 429, 429]);
      const token = await client(server.url).logIn("p0@example.com", PASSWORD);
      const headers = { authorization: `Bearer ${token}` };
      const events = await ask(outside, "/users/me/events", { headers });
      expect(events.body).toContain(`"${VISITOR}"`);
      expect(events.body).not.toContain("198.51.100.");

      const response = await expectCut(outside);
      // Caddy buffers a short body, and closes the connection without a response.
      if (name !== "caddy") expect(response).toMatch(RESPONSE);
      expect(await server.end("SIGTERM")).toBe(0);
    });

    test("streams send events at once, stay open while idle, and end when their client leaves", async () => {
      const METRICS_PORT = String(await freePort());
      const { server, url } = await behind(name, { METRICS_PORT });
      const open = async () => {
        const text = await (await fetch(`http://127.0.0.1:${METRICS_PORT}/metrics`)).text();
        return [...text.matchAll(/^bunker_streams_open\{kind="\w+"\} (\d+)/gm)].map(([, n]) => n);
      };
      const api = client(server.url);
      await api.register("ada@example.com", PASSWORD);
      const token = await api.logIn("ada@example.com", PASSWORD);
      const own = `${url}/api/v1/users/me/events`;
      const sse = await openSse(`${own}/stream`, { authorization: `Bearer ${token}` });
      // As a browser does.
      const protocols = ["bunker.v1", `bearer.${token}`];
      const socket = await openSocket(`${own}/ws`, { protocols });
      socket.send({ type: "subscribe", events: "*" });
      await until(() => sse.blocks.length > 0 && socket.messages.length > 0);
      await sleep(IDLE_MS);
      const signedInAt = performance.now();
      await api.logIn("ada@example.com", PASSWORD);
      await until(() => sse.events.length === 1 && socket.events.length === 1);
      expect(performance.now() - signedInAt).toBeLessThan(2_000);
      expect([sse.isOver, socket.closed]).toEqual([false, undefined]);
      expect(await open()).toEqual(["1", "1"]);
      sse.close();
      socket.close();
      const leftAt = performance.now();
      while ((await open()).join() !== "0,0" && performance.now() - leftAt < LEFT_MAX_MS)
        await sleep(50);
      expect(await open()).toEqual(["0", "0"]);
      expect(await server.end("SIGTERM")).toBe(0);
    }, 120_000);

    test("an unknown method is refused by the proxy, and the next request is answered", async () => {
      const { server, url } = await behind(name);
      for (let sent = 0; sent < 3; sent += 1) {
        const answer = await fetch(`${url}/livez`, { method: "PURGE" });
        expect([answer.status, answer.headers.get("content-type")]).toEqual([
          405,
          "application/problem+json",
        ]);
        expect(answer.headers.get("allow")).toBe(METHODS.join(", "));
        const { request_id } = (await answer.json()) as { request_id: string };
        expect(answer.headers.get("x-request-id")).toBe(request_id);
        expect((await fetch(`${url}/livez`)).status).toBe(200);
      }
      expect(await server.end("SIGTERM")).toBe(0);
    });

    test.if(home !== undefined)(
      "during a database outage Bunker itself responds, and serves what needs no database",
      async () => {
        const { faultyProxy, DATABASE_URL } = await databaseBehindProxy();
        const it = await behind(name, {
          DATABASE_URL,
          SECRET_KEY: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
          PUBLIC_URL: "https://accounts.example.com",
        });
        const signIn = async () => {
          const answer = await fetch(`${it.url}/api/v1/auth/login`, {
            method: "POST",
            headers: { "content-type": "application/json" },
            body: JSON.stringify({ username: "ada@example.com", password: PASSWORD }),
          });
          const { code } = (await answer.json()) as { code: string };
          return [answer.status, code, answer.headers.has("retry-after")];
        };
        faultyProxy.refuse();
        // By then, the proxy has checked its health.
        await sleep(NOTICED_MS);
        const from = performance.now();
        expect(await signIn()).toEqual([503, "database_unavailable", true]);
        expect((await fetch(`${it.url}/livez`)).status).toBe(200);
        expect((await fetch(`${it.url}/readyz`)).status).toBe(503);
        expect(performance.now() - from).toBeLessThan(ANSWERS_MAX_MS);
        await faultyProxy.open();
        const back = performance.now();
        while ((await signIn())[0] === 503) await sleep(50);
        expect(performance.now() - back).toBeLessThan(ANSWERS_MAX_MS);
        expect(await signIn()).toEqual([401, "invalid_credentials", false]);
        expect(await it.server.end("SIGTERM")).toBe(0);
      },
    );
  });
}
