/**
 * Two instances send events to webhooks, on the PostgreSQL server of E2E_DATABASE_URL, while
 * processes are killed and receivers fail.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { client, command, emptyFolder, rounds, type Serving, serve } from "../support/program.ts";
import { databaseServer, emptyDatabaseForEachTest } from "../support/server-database.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(300_000 + rounds * 30_000);
const PASSWORD = "correct horse battery staple";
const ROOT = "root@example.com";
const EVERY_MS = 20;
/** An event that failed seven times in a row is retried after a minute. */
const RETRIED_WITHIN_MS = 150_000;
const { url, sql } = emptyDatabaseForEachTest("webhooks");

const env = {
  DATABASE_URL: url,
  SECRET_KEY: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
  PUBLIC_URL: "https://accounts.example.com",
  WEBHOOKS_ALLOW_PRIVATE: "true",
  RATE_LIMIT: "off",
  LOG_ACCESS: "off",
};
const start = () => serve({ cwd: emptyFolder(), env });

interface Event {
  id: string;
  header: string;
  type: string;
  delayMs: number;
}

/** A receiver. Of its requests, `failures` fail: by an error, a reset or, rarely, a hang. */
async function openReceiver(failures: number, hangs = 0.02) {
  const received: Event[] = [];
  const receiver = { failures, received, hung: 0, failed: 0 };
  const answers = [
    (response: ServerResponse) => response.writeHead(500).end("no"),
    (response: ServerResponse) => response.writeHead(429, { "retry-after": "1" }).end(),
    (response: ServerResponse) => response.socket?.destroy(),
  ];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
      if (Math.random() < receiver.failures) {
        receiver.failed += 1;
        const isHang = Math.random() < hangs;
        receiver.hung += Number(isHang);
        if (!isHang) answers[receiver.failed % answers.length]?.(response);
        return;
      }
      const { id, type, time } = JSON.parse(Buffer.concat(chunks).toString());
      const header = String(request.headers["webhook-id"]);
      received.push({ id, header, type, delayMs: Date.now() - Date.parse(time) });
      response.writeHead(200).end("ok");
    });
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as AddressInfo;
  return Object.assign(receiver, {
    url: `http://127.0.0.1:${port}/`,
    /** The ids in the order in which they first arrived. */
    ids: () => [...new Set(received.map(({ id }) => id))],
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  });
}

async function superuserOf({ url: at }: Serving): Promise<string> {
  await client(at).register(ROOT, PASSWORD);
  await command(["users", "promote", ROOT], { env, cwd: emptyFolder() });
  return client(at).logIn(ROOT, PASSWORD);
}

const headersOf = (token: string) => ({
  authorization: `Bearer ${token}`,
  "content-type": "application/json",
});

async function createWebhook({ url: at }: Serving, token: string, body: object): Promise<void> {
  const answer = await fetch(`${at}/api/v1/webhooks`, {
    method: "POST",
    headers: headersOf(token),
    body: JSON.stringify(body),
  });
  expect(answer.status).toBe(201);
}

/** 50 profile changes a second and some registrations. A request may fail: instances are killed. */
function recordEvents(servers: Serving[], token: string) {
  let count = 0;
  const timer = setInterval(() => {
    count += 1;
    const at = servers[count % servers.length]?.url ?? "";
    void fetch(`${at}/api/v1/users/me`, {
      method: "PATCH",
      headers: headersOf(token),
      body: JSON.stringify({ full_name: `Ada ${count}` }),
    }).catch(() => {});
    if (count % 50 === 0)
      void client(at)
        .register(`user-${count}@example.com`, PASSWORD)
        .catch(() => {});
  }, EVERY_MS);
  return () => clearInterval(timer);
}

/** The ids of the events after the last webhook was created, in their order. */
const committed = async (types: string[]): Promise<string[]> => {
  const rows = await sql()`
    select id, type from events where (transaction_id, position) >
      (select transaction_id, position from events where type = 'webhook.created'
        order by transaction_id desc, position desc limit 1)
    order by transaction_id, position`;
  return rows.filter(({ type }) => types.includes(type)).map(({ id }) => String(id));
};
const CHANGES = ["user.created", "user.updated"];

describe.if(databaseServer !== undefined)("two instances", () => {
  test("send what was committed, also in order, while they are killed and receivers fail", async () => {
    const servers = [await start(), await start()];
    const [first] = servers as [Serving];
    const token = await superuserOf(first);
    const [free, ordered] = [await openReceiver(0.3), await openReceiver(0.3, 0)];
    await createWebhook(first, token, {
      url: ordered.url,
      events: ["user.created"],
      ordered: true,
    });
    await createWebhook(first, token, { url: free.url, events: CHANGES });
    const stop = recordEvents(servers, token);
    for (let round = 0; round < rounds; round += 1) {
      await sleep(3_000);
      const at = round % servers.length;
      await servers[at]?.end("SIGKILL");
      servers[at] = await start();
    }
    await sleep(2_000);
    stop();
    await sleep(500);
    free.failures = 0;
    ordered.failures = 0;
    const expected = { free: await committed(CHANGES), ordered: await committed(["user.created"]) };
    const isComplete = () =>
      free.ids().length >= expected.free.length && ordered.ids().length >= expected.ordered.length;
    await until(isComplete, RETRIED_WITHIN_MS);
    await sleep(1_000);
    expect(expected.free.length).toBeGreaterThan(rounds * 50);
    expect(free.ids().toSorted()).toEqual(expected.free.toSorted());
    expect(ordered.ids()).toEqual(expected.ordered);
    for (const { received } of [free, ordered])
      for (const { id, header } of received) expect(header).toBe(id);
    const [row] = await sql()`select count(*)::int as count from webhook_deliveries
      where state not in ('delivered', 'waiting')`;
    expect(row?.["count"]).toBe(0);
    console.log(
      `${rounds} kills: ${expected.free.length} events, ${free.received.length - expected.free.length} twice, ${free.failed} failures (${free.hung} hung); ordered ${expected.ordered.length}, ${ordered.received.length - expected.ordered.length} twice, ${ordered.failed} failures`,
    );
    free.close();
    ordered.close();
  });

  test("delay no webhook because the receiver of another one hangs", async () => {
    const servers = [await start(), await start()];
    const [first] = servers as [Serving];
    const token = await superuserOf(first);
    const [dead, healthy] = [await openReceiver(1, 1), await openReceiver(0)];
    for (const { url: to } of [dead, healthy])
      await createWebhook(first, token, { url: to, events: CHANGES });
    const stop = recordEvents(servers, token);
    await sleep(10_000);
    stop();
    await sleep(1_000);
    expect(healthy.ids().toSorted()).toEqual((await committed(CHANGES)).toSorted());
    expect(dead.hung).toBeGreaterThan(0);
    const delays = healthy.received.map(({ delayMs }) => delayMs).toSorted((a, b) => a - b);
    const p99 = delays[Math.floor(delays.length * 0.99)] ?? Number.NaN;
    console.log(
      `beside a hanging receiver: ${delays.length} events, median ${delays[delays.length >> 1]} ms, p99 ${p99} ms`,
    );
    expect(p99).toBeLessThan(2_000);
    for (const server of servers) await server.end("SIGTERM");
    dead.close();
    healthy.close();
  });
});
