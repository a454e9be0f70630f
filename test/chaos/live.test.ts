/** Streams of events while instances are killed, stopped and reloaded. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { createConnection } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "../../src/db/db.ts";
import { openFaultyProxy } from "../support/faulty-proxy.ts";
import { client, emptyFolder, freePort, rounds, type Serving, serve } from "../support/program.ts";
import { type Envelope, openSocket, openSse } from "../support/streams.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(120_000 + rounds * 10_000);
const PASSWORD = "correct horse battery staple";
const EVENTS_A_SECOND = 50;
const CATCH_UP_MAX_MS = 30_000;

/** Follows all events from one cursor on, on either server, whenever a stream ends. */
function follow(kind: "sse" | "websocket", urls: string[], { token, after }: Start) {
  const events: Envelope[] = [];
  let isOver = false;
  const headers = { authorization: `Bearer ${token}` };
  const cursor = () => events.at(-1)?.sequence ?? after;
  const take = async (received: Envelope[], isOpen: () => boolean) => {
    for (let isLast = false; !isLast; ) {
      isLast = !isOpen();
      events.push(...received.splice(0));
      if (!isLast) await sleep(5);
    }
  };
  const bySse = async (url: string) => {
    const sse = await openSse(`${url}/stream`, { ...headers, "last-event-id": cursor() });
    const isOpen = () => !isOver && sse.status === 200 && !sse.isOver;
    await take(sse.events, isOpen);
    sse.close();
  };
  const byWebSocket = async (url: string) => {
    const socket = await openSocket(`${url}/ws`, { headers });
    if (socket.isOpen) socket.send({ type: "subscribe", events: "*", after: cursor() });
    await take(socket.events, () => !isOver && !socket.closed);
    socket.close();
  };
  const work = (async () => {
    for (let at = 0; !isOver; at += 1) {
      const url = urls[at % urls.length] ?? "";
      await (kind === "sse" ? bySse : byWebSocket)(`${url}/api/v1/events`).catch(() => {});
      await sleep(20);
    }
  })();
  return {
    events,
    stop: async () => {
      isOver = true;
      await work;
    },
  };
}

interface Start {
  token: string;
  after: string;
}

/** Changes a user's name on either server, again and again. Each change records an event. */
function writeEvents(urls: string[], token: string) {
  let isOver = false;
  const work = (async () => {
    for (let at = 0; !isOver; at += 1) {
      const url = `${urls[at % urls.length]}/api/v1/users/me`;
      const body = JSON.stringify({ full_name: `Name ${at}` });
      const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
      void fetch(url, { method: "PATCH", headers, body }).catch(() => {});
      await sleep(1_000 / EVENTS_A_SECOND);
    }
  })();
  return async () => {
    isOver = true;
    await work;
  };
}

const home = process.env["E2E_DATABASE_URL"];

/**
 * Two servers on one new database, with a superuser. `ports`: how a server reaches the database, if
 * not directly.
 */
async function twoServers(ports: Record<number, number> = {}) {
  const admin = connect({ url: home ?? "", caFile: undefined }, { max: 1 });
  const name = `bunker_e2e_live_${process.pid}_${Date.now()}`;
  await admin.unsafe(`create database ${name}`);
  const url = Object.assign(new URL(home ?? ""), { pathname: `/${name}` }).href;
  const cwd = emptyFolder();
  const urlOf = (at: number) =>
    Object.assign(new URL(url), ports[at] ? { port: String(ports[at]) } : {}).href;
  const envs = [await freePort(), await freePort()].map((port, at) => ({
    PORT: String(port),
    DATABASE_URL: urlOf(at),
    SECRET_KEY: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    PUBLIC_URL: "https://accounts.example.com",
    FIRST_SUPERUSER_EMAIL: "root@example.com",
    FIRST_SUPERUSER_PASSWORD: PASSWORD,
    RATE_LIMIT: "off",
    LOG_ACCESS: "off",
  }));
  const start = (at: number) => serve({ cwd, env: envs[at] ?? {} });
  const servers: Serving[] = [];
  for (const at of envs.keys()) servers.push(await start(at));
  const sql = connect({ url, caFile: undefined }, { max: 1 });
  return {
    servers,
    urls: servers.map((server) => server.url),
    start,
    /** The ids of all events after a cursor, in order. */
    committed: async (after: string): Promise<string[]> => {
      const rows = await sql`select id from events
        where lpad(to_hex(transaction_id::text::bigint), 16, '0') || lpad(to_hex(position), 16, '0') > ${after}
        order by transaction_id, position`;
      return rows.map(({ id }) => String(id));
    },
    close: async () => {
      await Promise.all(servers.map((server) => server.end("SIGKILL")));
      await sql.end();
      await admin.unsafe(`drop database ${name} with (force)`);
      await admin.end();
    },
  };
}

test.if(home !== undefined)(
  "clients that reconnect with their cursor get every event once, while instances are killed",
  async () => {
    const { servers, urls, start, committed, close } = await twoServers();
    const token = await client(urls[0] ?? "").logIn("root@example.com", PASSWORD);
    const [latest] = await (async () => {
      const answer = await client(urls[0] ?? "").get("/events?type=session.started", token);
      return (await answer.json()) as Envelope[];
    })();
    const after = latest?.sequence ?? "";
    const reversed = urls.toReversed();
    const clients = [
      follow("sse", urls, { token, after }),
      follow("sse", reversed, { token, after }),
      follow("websocket", urls, { token, after }),
      follow("websocket", reversed, { token, after }),
    ];
    const stopWriting = writeEvents(urls, token);
    for (let round = 0; round < rounds; round += 1) {
      const at = round % 2;
      await sleep(200 + 800 * Math.random());
      // Every fifth round ends without a kill.
      await servers[at]?.end(round % 5 === 4 ? "SIGTERM" : "SIGKILL");
      await sleep(300 * Math.random());
      servers[at] = await start(at);
    }
    await stopWriting();
    await sleep(500);
    const expected = await committed(after);
    expect(expected.length).toBeGreaterThan(10 * rounds);
    const giveUpAt = performance.now() + CATCH_UP_MAX_MS;
    const isDone = () => clients.every(({ events }) => events.length >= expected.length);
    while (!isDone() && performance.now() < giveUpAt) await sleep(50);
    await sleep(200);
    for (const { events, stop } of clients) {
      await stop();
      expect(events.map(({ id }) => id)).toEqual(expected);
    }
    await close();
  },
);

test.if(home !== undefined)(
  "streams stay open while the database is unavailable, and miss no event afterwards",
  async () => {
    const target = new URL(home ?? "");
    const proxy = await openFaultyProxy({
      host: target.hostname,
      port: Number(target.port || 5432),
    });
    const { servers, urls, close } = await twoServers({ 0: proxy.port });
    const [server] = servers;
    const [url = "", other = ""] = urls;
    const token = await client(url).logIn("root@example.com", PASSWORD);
    const headers = { authorization: `Bearer ${token}` };
    const sse = await openSse(`${url}/api/v1/events/stream`, headers);
    const socket = await openSocket(`${url}/api/v1/events/ws`, { headers });
    socket.send({ type: "subscribe", events: "*" });
    await until(() => sse.blocks.length > 0 && socket.messages.length > 0);
    for (let round = 1; round <= 3; round += 1) {
      proxy.refuse();
      // The other server still records events.
      await client(other).register(`ada${round}@example.com`, PASSWORD);
      await sleep(2_000);
      await proxy.open();
      await until(() => sse.events.length === round && socket.events.length === round, 15_000);
    }
    expect([sse.isOver, socket.closed]).toEqual([false, undefined]);
    // A session that ends in the meantime is noticed as soon as the database is back.
    proxy.refuse();
    await fetch(`${other}/api/v1/auth/logout`, { method: "POST", headers });
    await sleep(1_000);
    await proxy.open();
    await until(() => sse.isOver && socket.closed?.code === 4401, 15_000);
    expect(server?.said.err).toContain("cannot be read; retrying");
    await close();
    proxy.close();
  },
);

test("a WebSocket client that answers no ping is disconnected, and others are not", async () => {
  const server = await serve({ cwd: emptyFolder() });
  const api = client(server.url);
  await api.register("ada@example.com", PASSWORD);
  const token = await api.logIn("ada@example.com", PASSWORD);
  const headers = { authorization: `Bearer ${token}` };
  const socket = await openSocket(`${server.url}/api/v1/users/me/events/ws`, { headers });
  const port = Number(new URL(server.url).port);
  const silent = createConnection(port, "127.0.0.1");
  let said = "";
  silent.on("data", (chunk) => {
    said += chunk.toString("latin1");
  });
  silent.write(
    `GET /api/v1/users/me/events/ws HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${token}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`,
  );
  const from = performance.now();
  await new Promise((done) => silent.once("close", done));
  expect(said).toStartWith("HTTP/1.1 101 ");
  expect(performance.now() - from).toBeLessThan(60_000);
  expect(socket.closed).toBeUndefined();
  socket.close();
  expect(await server.end("SIGTERM")).toBe(0);
});

test("a reload ends streams, whose clients resume on the new settings", async () => {
  const env = {
    FIRST_SUPERUSER_EMAIL: "root@example.com",
    FIRST_SUPERUSER_PASSWORD: PASSWORD,
    RATE_LIMIT: "off",
  };
  const server = await serve({ cwd: emptyFolder(), env });
  const token = await client(server.url).logIn("root@example.com", PASSWORD);
  const headers = { authorization: `Bearer ${token}` };
  const url = `${server.url}/api/v1/events`;
  const sse = await openSse(`${url}/stream`, headers);
  const socket = await openSocket(`${url}/ws`, { headers });
  socket.send({ type: "subscribe", events: "*" });
  await until(() => sse.blocks.length > 0 && socket.messages.length > 0);
  process.kill(server.pid, "SIGHUP");
  await until(() => sse.isOver && socket.closed !== undefined);
  expect(socket.closed?.code).toBe(1012);
  await client(server.url).register("ada@example.com", PASSWORD);
  const cursor = socket.closed?.reason.slice(-32) ?? "";
  const resumed = await openSse(`${url}/stream`, { ...headers, "last-event-id": cursor });
  await until(() => resumed.events.length > 0);
  expect(resumed.events[0]?.type).toBe("user.created");
  // A stream that is open does not delay the exit.
  const from = performance.now();
  expect(await server.end("SIGTERM")).toBe(0);
  expect(performance.now() - from).toBeLessThan(5_000);
  await until(() => resumed.isOver);
});
