/**
 * Two instances publish to a message queue, on the PostgreSQL server of E2E_DATABASE_URL, while
 * processes are killed and connections cut.
 */
import { afterEach, beforeEach, expect, setDefaultTimeout } from "bun:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type BrokerServer, brokers } from "../support/brokers.ts";
import { type FaultyProxy, openFaultyProxy } from "../support/faulty-proxy.ts";
import { client, emptyFolder, linesOf, rounds, type Serving, serve } from "../support/program.ts";
import { databaseServer, emptyDatabaseForEachTest } from "../support/server-database.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(120_000 + rounds * 30_000);
const PASSWORD = "correct horse battery staple";
const EVERY_MS = 20;
const TAKEOVER_MAX_MS = 5_000;
const { url, sql } = emptyDatabaseForEachTest("broker");

/** The process that publishes. */
async function holder(): Promise<number> {
  const [row] = await sql()`
    select holder from event_cursors where name = 'broker' and leased_until > clock_timestamp()`;
  return Number(row?.["holder"]?.split("/").at(-2) ?? 0);
}

const isDone = async () => {
  const [row] = await sql()`
    select count(*)::int as behind from events, event_cursors as sink where sink.name = 'broker'
      and (events.transaction_id, events.position) > (sink.transaction_id, sink.position)`;
  return row?.["behind"] === 0;
};

/** Records an event every 20 ms, on the instances in turn. A request may fail: they are killed. */
function recordEvents(servers: Serving[], token: string) {
  let count = 0;
  const timer = setInterval(() => {
    count += 1;
    const server = servers[count % servers.length];
    void fetch(`${server?.url}/api/v1/users/me`, {
      method: "PATCH",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify({ full_name: `Ada ${count}` }),
    }).catch(() => {});
  }, EVERY_MS);
  return () => clearInterval(timer);
}

for (const { name: broker, needs, open } of databaseServer ? brokers : [])
  needs.describe(`two instances and ${broker}`, () => {
    let server: BrokerServer;
    let proxy: FaultyProxy;
    beforeEach(async () => {
      server = await open();
      await server.subscribe();
      proxy = await openFaultyProxy({ host: "127.0.0.1", port: server.port });
    });
    afterEach(async () => {
      proxy.close();
      await server.kill();
    });

    const start = () =>
      serve({
        cwd: emptyFolder(),
        env: {
          DATABASE_URL: url,
          BROKER_URL: server.urlOf(proxy.port),
          SECRET_KEY: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
          PUBLIC_URL: "https://accounts.example.com",
          RATE_LIMIT: "off",
          DATABASE_POOL_SIZE: "4",
          LOG_ACCESS: "off",
        },
      });
    const signIn = async ({ url: at }: Serving) => {
      await client(at).register("ada@example.com", PASSWORD);
      return client(at).logIn("ada@example.com", PASSWORD);
    };
    const committed = async () =>
      (await sql()`select id from events order by transaction_id, position`).map(({ id }) => id);
    /** Duplicates have the same id, so the first of each remains. */
    const received = async () => {
      const messages = await server.received();
      for (const { id, body } of messages) expect(body.id).toBe(id);
      return { count: messages.length, ids: [...new Set(messages.map(({ id }) => id))] };
    };

    needs.test(
      "what arrives is what was committed, in order, while both are killed, connections cut and the queue restarted",
      async () => {
        const servers = [await start(), await start()];
        const [first] = servers as [Serving];
        const stop = recordEvents(servers, await signIn(first));
        const takeovers: number[] = [];
        const strikes = [
          async () => proxy.cut(),
          async () => {
            await server.kill();
            await sleep(1_000);
            await server.up();
          },
          async () => {
            proxy.freeze();
            await sleep(2_000);
            proxy.cut();
            await proxy.open();
          },
          async () => {
            proxy.refuse();
            await sleep(1_000);
            await proxy.open();
          },
        ];
        for (let round = 0; round < rounds; round += 1) {
          await until(async () => (await holder()) !== 0);
          const pid = await holder();
          const at = servers.findIndex((one) => one.pid === pid);
          await servers[at]?.end("SIGKILL");
          takeovers.push(await until(async () => ![0, pid].includes(await holder()), 30_000));
          servers[at] = await start();
          await strikes[round % strikes.length]?.();
          await sleep(500);
        }
        await sleep(2_000);
        stop();
        await until(isDone);
        const { ids, count } = await received();
        const expected = await committed();
        expect(expected.length).toBeGreaterThan(rounds * 50);
        expect(ids).toEqual(expected);
        console.log(
          `${broker}: ${ids.length} events, ${count - ids.length} twice, takeover ${Math.round(Math.max(...takeovers))} ms at most`,
        );
        expect(Math.max(...takeovers)).toBeLessThan(TAKEOVER_MAX_MS);
      },
    );

    needs.test("a queue that is unavailable delays no request, and is logged once", async () => {
      proxy.refuse();
      const one = await start();
      const token = await signIn(one);
      const stop = recordEvents([one], token);
      await sleep(3_000);
      const from = performance.now();
      expect((await client(one.url).get("/users/me", token)).status).toBe(200);
      expect(performance.now() - from).toBeLessThan(1_000);
      expect((await fetch(`${one.url}/readyz`)).status).toBe(200);
      expect(await isDone()).toBe(false);
      await proxy.open();
      stop();
      await until(isDone);
      expect((await received()).ids).toEqual(await committed());
      expect(await one.end("SIGTERM")).toBe(0);
      const lines = linesOf(one.said.err).filter(({ msg }) => /message queue/.test(String(msg)));
      expect(lines.map(({ level, reason }) => [level, reason])).toEqual([
        ["warn", "ECONNREFUSED"],
        ["info", undefined],
      ]);
      expect(one.said.err).not.toContain(server.urlOf(proxy.port));
      // The next process need not wait until the lease ends.
      expect(await holder()).toBe(0);
    });
  });
