/** What only RabbitMQ or only NATS does, and BROKER_URL. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { setTimeout as sleep } from "node:timers/promises";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect as connectNats } from "@nats-io/transport-node";
import { openBroker } from "../../src/adapters/broker.ts";
import { readConfig } from "../../src/config/config.ts";
import { brokerOf } from "../../src/kit/broker.ts";
import { noMetrics } from "../../src/kit/metrics.ts";
import { START } from "../../src/modules/events/cursor.ts";
import { prepareRelay } from "../../src/modules/events/relay.ts";
import { replayEvents } from "../../src/modules/events/sinks.ts";
import {
  nats as openNats,
  rabbitMq as openRabbitMq,
  rabbitMqOnly,
  relay,
} from "../support/brokers.ts";
import { needs } from "../support/needs.ts";
import { world } from "../support/world.ts";

setDefaultTimeout(120_000);

const natsOnly = needs("nats-server");

rabbitMqOnly.test(
  "an event that no RabbitMQ queue is bound for is accepted, counted, and logged once",
  async () => {
    const server = await openRabbitMq();
    const { ctx: base, newUser, logged } = await world();
    const counted: Record<string, number> = {};
    const ctx = {
      ...base,
      broker: brokerOf(openBroker(server.urlOf(server.port)), "test"),
      metrics: {
        ...noMetrics,
        recordPublished: (outcome: string, count: number) => {
          counted[outcome] = (counted[outcome] ?? 0) + count;
        },
      },
    };
    await prepareRelay(ctx);
    const once = new Set<string>();
    await newUser();
    const first = await relay(ctx, once);
    await newUser("b@example.com");
    expect(counted).toEqual({ published: 0, unroutable: first });
    expect(first).toBeGreaterThan(0);
    expect(await relay(ctx, once)).toBeGreaterThan(0);
    expect(logged).toEqual([
      {
        fields: { event_type: "user.created" },
        sentence: expect.stringContaining("no queue is bound"),
      },
    ]);
    await ctx.broker.close();
    await server.kill();
  },
);

rabbitMqOnly.test("a RabbitMQ that is short of memory gets no event more than twice", async () => {
  const server = await openRabbitMq();
  await server.subscribe();
  const { ctx: base, newUser, logged } = await world();
  const ctx = { ...base, broker: brokerOf(openBroker(server.urlOf(server.port)), "test") };
  await prepareRelay(ctx);
  await server.control("set_vm_memory_high_watermark", "0");
  await newUser();
  for (let n = 0; n < 4; n += 1) {
    ctx.broker.pausedUntil = 0;
    expect(await relay(ctx)).toBe(0);
  }
  expect(logged.map(({ fields }) => fields)).toEqual([{ reason: "BLOCKED" }]);
  await server.control("set_vm_memory_high_watermark", "0.8");
  const giveUpAt = performance.now() + 20_000;
  let count = 0;
  while (count === 0 && performance.now() < giveUpAt) {
    ctx.broker.pausedUntil = 0;
    count = await relay(ctx);
    await sleep(100);
  }
  expect(count).toBeGreaterThan(0);
  const ids = (await server.received()).map(({ id }) => id);
  expect(new Set(ids).size).toBe(count);
  expect(ids.length).toBeLessThanOrEqual(2 * count);
  await ctx.broker.close();
  await server.kill();
});

natsOnly.test(
  "a NATS stream of the operator is used as it is, and stores an event once",
  async () => {
    const server = await openNats();
    const connection = await connectNats({ servers: `127.0.0.1:${server.port}` });
    const { streams } = await jetstreamManager(connection);
    const subjects = ["bunker.events.user.>", "bunker.events.session.>"];
    await streams.add({ name: "OWN", subjects, max_msgs: 1_000 });
    const { ctx: base, newUser } = await world();
    const ctx = { ...base, broker: brokerOf(openBroker(server.urlOf(server.port)), "test") };
    await prepareRelay(ctx);
    await newUser();
    const length = await relay(ctx);
    await replayEvents(ctx, START);
    ctx.broker.lease = undefined;
    expect(await relay(ctx)).toBe(length);
    const { config, state } = await streams.info("OWN");
    expect([config.subjects, config.max_msgs, state.messages]).toEqual([subjects, 1_000, length]);
    expect(await streams.names().next()).toEqual(["OWN"]);
    await ctx.broker.close();
    await connection.close();
    await server.kill();
  },
);

test("a failure is described without the URL", async () => {
  const broker = openBroker("amqp://sentinel:sentinel@127.0.0.1:1/sentinel");
  const message = { id: "1", type: "user.created", time: new Date(0), body: "{}" };
  const failure = await broker.publish([message]).catch((error: Error) => error);
  expect(String(failure)).toBe("BrokerFailure: The message queue cannot be used (ECONNREFUSED).");
});

test("BROKER_URL names RabbitMQ or NATS, and an error does not repeat it", () => {
  const faultOf = (BROKER_URL: string) => {
    try {
      return readConfig({ BROKER_URL }).config.brokerUrl;
    } catch (error) {
      return (error as Error).message.split("\n")[1];
    }
  };
  for (const url of [
    "amqp://localhost",
    "amqp://bunker:p%40ss@mq.example.com:5672/%2Fproduction",
    "amqps://bunker:pass@mq.example.com/production",
    "nats://127.0.0.1:4222",
    "nats://token@nats.example.com",
    "tls://bunker:pass@nats.example.com:4222/",
  ])
    expect(faultOf(url)).toBe(url);
  for (const url of [
    "sentinel",
    "redis://sentinel:6379",
    "amqp://",
    "amqp://sentinel:0",
    "amqp://u:sent/inel@host",
    "amqp://u:p@host/sentinel/b",
    "amqp://u:p@host/a?sentinel=1",
    "amqp://u:p#sentinel@host",
    "nats://host/sentinel",
    "nats://sentinel,other",
  ])
    expect([url, faultOf(url)]).toEqual([
      url,
      expect.stringMatching(/^ {2}- BROKER_URL (must|has)(?!.*sentinel)/),
    ]);
});
