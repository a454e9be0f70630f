/** The relay to a message queue, with real servers. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { setTimeout as sleep } from "node:timers/promises";
import { openBroker } from "../src/adapters/broker.ts";
import type { Ctx } from "../src/ctx.ts";
import { type Broker, brokerOf } from "../src/kit/broker.ts";
import { noMetrics } from "../src/kit/metrics.ts";
import { START } from "../src/modules/events/cursor.ts";
import { latestCursor } from "../src/modules/events/feed.ts";
import { prepareRelay, publishEvents, releaseLease } from "../src/modules/events/relay.ts";
import { countBehind, listSinks, replayEvents } from "../src/modules/events/sinks.ts";
import { type BrokerServer, brokers, relay } from "./support/brokers.ts";
import { type FaultyProxy, openFaultyProxy } from "./support/faulty-proxy.ts";
import { world } from "./support/world.ts";

setDefaultTimeout(120_000);

for (const { name, needs, open } of brokers)
  needs.describe(`with ${name}`, () => {
    let server: BrokerServer;
    let proxy: FaultyProxy;
    const opened: Broker[] = [];
    beforeAll(async () => {
      server = await open();
      await server.subscribe();
      proxy = await openFaultyProxy({ host: "127.0.0.1", port: server.port });
    });
    afterAll(async () => {
      await Promise.all(opened.map((broker) => broker.close()));
      proxy.close();
      await server.kill();
    });

    /** Another instance on the same database. */
    const instanceOf = (ctx: Ctx, port = server.port): Ctx & { broker: Broker } => {
      const broker = brokerOf(openBroker(server.urlOf(port)), "test");
      opened.push(broker);
      return { ...ctx, broker };
    };
    const start = async (port?: number) => {
      const it = await world();
      const ctx = instanceOf(it.ctx, port);
      await prepareRelay(ctx);
      const before = (await server.received()).length;
      const received = async () => (await server.received()).slice(before);
      const recorded = async () =>
        (await it.sql`select id from events order by transaction_id, position`).map(({ id }) => id);
      return { ...it, ctx, received, recorded };
    };

    test("each event arrives once and in order, as the envelope of the API, and the cursor follows", async () => {
      const { ctx, received, recorded, newUser, superuser } = await start();
      for (let n = 0; n < 3; n += 1) await newUser(`user${n}@example.com`);
      const { get } = await superuser();
      expect(await relay(ctx)).toBe((await recorded()).length);
      const messages = await received();
      expect(messages.map(({ id }) => id)).toEqual(await recorded());
      const { body: envelopes } = await get("/events?limit=100");
      expect(messages.map(({ body }) => body)).toEqual(envelopes);
      for (const { id, key, contentType, body } of messages)
        expect([id, key, contentType]).toEqual([
          body.id,
          body.type,
          "application/cloudevents+json",
        ]);
      expect(await relay(ctx)).toBe(0);
      const [sink] = await listSinks(ctx);
      expect(sink).toMatchObject({ name: "broker", holder: ctx.broker.holder, waitedSeconds: 0 });
    });

    test("earlier events are published by a replay only, and again with the same ids", async () => {
      const it = await world();
      await it.newUser();
      const ctx = instanceOf(it.ctx);
      await prepareRelay(ctx);
      expect(await relay(ctx)).toBe(0);
      const end = await latestCursor(ctx);
      expect(await replayEvents(ctx, end)).toBe(false);
      expect(await replayEvents(ctx, START)).toBe(true);
      const [sink] = await listSinks(ctx);
      const { length } = await it.sql`select from events`;
      expect(await countBehind(ctx, sink ?? { cursor: end })).toBe(length);
      // The instance has the lease, and reads the cursor again within a second.
      ctx.broker.lease = undefined;
      expect(await relay(ctx)).toBe(length);
      const ids = (await server.received()).slice(-length).map(({ id }) => id);
      expect(ids).toEqual(
        (await it.sql`select id from events order by transaction_id, position`).map(({ id }) => id),
      );
    });

    test("one instance publishes, the next one goes on at once after a graceful shutdown", async () => {
      const { ctx, received, recorded, newUser } = await start();
      const other = instanceOf(ctx);
      await newUser("a@example.com");
      expect(await relay(ctx)).toBeGreaterThan(0);
      await newUser("b@example.com");
      expect(await relay(other)).toBe(0);
      await releaseLease(ctx);
      other.broker.pausedUntil = 0;
      expect(await relay(other)).toBeGreaterThan(0);
      expect((await received()).map(({ id }) => id)).toEqual(await recorded());
    });

    test("an instance that lost the lease while it published changes no cursor", async () => {
      const { ctx, recorded, received, sql, newUser } = await start();
      const other = instanceOf(ctx);
      await newUser();
      const { publish } = ctx.broker;
      ctx.broker.publish = async (messages) => {
        const result = await publish(messages);
        // As if this process had been suspended for long.
        await sql`update event_cursors set leased_until = now() - interval '1 s'`;
        await relay(other);
        await replayEvents(other, START);
        return result;
      };
      await publishEvents(ctx, new Set());
      const [sink] = await listSinks(ctx);
      expect([sink?.holder, sink?.cursor]).toEqual([other.broker.holder, START]);
      const ids = new Set((await received()).map(({ id }) => id));
      expect([...ids]).toEqual(await recorded());
    });

    test("an instance keeps the lease while the message queue is slow", async () => {
      const { ctx, recorded, received, newUser } = await start();
      const other = instanceOf(ctx);
      await newUser();
      const { publish } = ctx.broker;
      ctx.broker.publish = async (messages) => {
        await sleep(4_500);
        return publish(messages);
      };
      const publishing = relay(ctx);
      const until = performance.now() + 4_400;
      while (performance.now() < until) {
        await sleep(200);
        expect(await relay(other)).toBe(0);
      }
      expect(await publishing).toBe((await recorded()).length);
      expect((await received()).map(({ id }) => id)).toEqual(await recorded());
    });

    test("a replay while the instance publishes is not overwritten", async () => {
      const { ctx, sql, newUser } = await start();
      await newUser();
      const { publish } = ctx.broker;
      ctx.broker.publish = async (messages) => {
        const result = await publish(messages);
        await sql`update event_cursors set position = position - 1`;
        return result;
      };
      await publishEvents(ctx, new Set());
      ctx.broker.publish = publish;
      expect(await relay(ctx)).toBeGreaterThan(0);
    });

    test("during an outage events wait; it is logged once, and they are published in order afterwards", async () => {
      const { ctx, received, recorded, newUser, logged } = await start(proxy.port);
      await newUser("a@example.com");
      await relay(ctx);
      proxy.refuse();
      for (let n = 0; n < 3; n += 1) {
        await newUser(`user${n}@example.com`);
        ctx.broker.pausedUntil = 0;
        expect(await relay(ctx)).toBe(0);
      }
      // Another instance may try.
      expect((await listSinks(ctx))[0]?.holder).toBeNull();
      await proxy.open();
      ctx.broker.pausedUntil = 0;
      expect(await relay(ctx)).toBeGreaterThan(0);
      const seen = [...new Set((await received()).map(({ id }) => id))];
      expect(seen).toEqual(await recorded());
      expect(logged.map(({ sentence }) => sentence)).toEqual([
        expect.stringContaining("The message queue cannot be used"),
        "The message queue is available again.",
      ]);
    });

    test("before the first event, a wrong BROKER_URL is logged, and a correction too", async () => {
      const { ctx, logged } = await start(proxy.port);
      proxy.refuse();
      await relay(ctx);
      expect(logged).toMatchObject([{ fields: { reason: "ECONNREFUSED" } }]);
      await proxy.open();
      ctx.broker.pausedUntil = 0;
      await relay(ctx);
      expect(logged).toMatchObject([{}, { sentence: "The message queue is available again." }]);
    });

    test("the outcome of each event is counted", async () => {
      const { ctx, newUser } = await start(proxy.port);
      const counted: Record<string, number> = {};
      ctx.metrics = {
        ...noMetrics,
        recordPublished: (outcome, count) => {
          counted[outcome] = (counted[outcome] ?? 0) + count;
        },
      };
      await newUser();
      const length = await relay(ctx);
      proxy.refuse();
      await newUser("b@example.com");
      await relay(ctx);
      await proxy.open();
      expect(counted["published"]).toBe(length);
      expect(counted["failed"]).toBeGreaterThan(0);
    });
  });
