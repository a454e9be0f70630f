/**
 * `bun bench/events.ts [--quick] [--write]` prints what it costs to publish events, and how soon
 * they arrive.
 * Exit codes: 0 whatever the figures are, 1 if a measurement failed, 2 without a binary.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { runBenchmark } from "./benchmark.ts";
import { measureCrowds } from "./crowds.ts";
import {
  type Follower,
  followByNats,
  followByRabbitMq,
  followBySse,
  followByWebhook,
  followByWebSocket,
  type OnEvent,
} from "./followers.ts";
import { cpuMicrosOf } from "./process-table.ts";
import { change, type Measured, openMeasured, percentile } from "./publishing.ts";
import { median, printRatios, printTable, type Row } from "./table.ts";
import { stop, type Workspace } from "./workspace.ts";
import { writeTable } from "./write-table.ts";

const isQuick = Bun.argv.includes("--quick");
const amqpUrl = process.env["BENCH_AMQP_URL"] || "amqp://guest:guest@127.0.0.1:5672";
const natsUrl = process.env["BENCH_NATS_URL"] || "nats://127.0.0.1:4222";

/** While delays are measured, 50 events a second. */
const EVERY_MS = 20;
const SETTLE_MS = 2_000;

/** Follows, and keeps the milliseconds from the time of each `user.updated` to its arrival. */
async function measureDelays(
  follow: (onEvent: OnEvent) => Promise<Follower>,
): Promise<Follower & { delays: number[] }> {
  const delays: number[] = [];
  const follower = await follow((text) => {
    const { type, time } = JSON.parse(text) as { type: string; time: string };
    if (type === "user.updated") delays.push(Date.now() - Date.parse(time));
  });
  return { ...follower, delays };
}

const waysOf = ({ server, token }: Measured) => ({
  webhook: (onEvent: OnEvent) => followByWebhook(server, token, onEvent),
  SSE: (onEvent: OnEvent) => followBySse(server, token, onEvent),
  WebSocket: (onEvent: OnEvent) => followByWebSocket(server, token, onEvent),
});

/** The time from the record of an event to its arrival. */
async function measureDelay(workspace: Workspace): Promise<Row[]> {
  const changes = isQuick ? 200 : 1_500;
  const rows: Row[] = [];
  const brokers = {
    RabbitMQ: { url: amqpUrl, follow: followByRabbitMq },
    NATS: { url: natsUrl, follow: followByNats },
  };
  for (const [broker, { url, follow }] of Object.entries(brokers)) {
    const measured = await openMeasured(workspace, { BROKER_URL: url });
    const ways = {
      ...waysOf(measured),
      [broker]: (onEvent: OnEvent) => follow(url, onEvent),
    };
    const followers: Record<string, Awaited<ReturnType<typeof measureDelays>>> = {};
    for (const [name, way] of Object.entries(ways)) followers[name] = await measureDelays(way);
    await sleep(SETTLE_MS);
    await change(workspace, measured, { changes, everyMs: EVERY_MS });
    await sleep(SETTLE_MS);
    for (const [name, { delays, stop: end }] of Object.entries(followers)) {
      await end();
      // Webhooks, SSE and WebSockets are measured with each broker; the first measurement counts.
      if (rows.some(({ what }) => what.startsWith(name))) continue;
      const p99 = percentile(delays, 0.99);
      rows.push({
        what: `${name}: delay of an event, p99 at 50 a second`,
        measured: `${p99} ms (median ${median(delays)}; ${delays.length} of ${changes})`,
        must: "≤ 250 ms, all",
        isMet: p99 <= 250 && delays.length === changes,
      });
    }
    await stop(measured.server.program);
  }
  return rows;
}

/**
 * Measures PATCH /users/me as fast as 16 clients can send it, in turns without a consumer and with
 * a webhook, SSE, a WebSocket and RabbitMQ. Each round with consumers is compared with the rounds
 * before and after it, because the speed of a shared machine drifts.
 */
async function measureChanges(workspace: Workspace): Promise<Row> {
  const silent = await openMeasured(workspace);
  const publishing = await openMeasured(workspace, { BROKER_URL: amqpUrl });
  const withoutConsumers = () => measureRound(workspace, silent, {});
  const withConsumers = () =>
    measureRound(workspace, publishing, {
      ...waysOf(publishing),
      RabbitMQ: (onEvent) => followByRabbitMq(amqpUrl, onEvent),
    });
  // Warms up both servers.
  await withConsumers();
  await withoutConsumers();
  const ratios: number[] = [];
  const cpuMicros = { during: [] as number[], after: [] as number[] };
  let before = await withoutConsumers();
  for (let round = 0; round < (isQuick ? 4 : 24); round += 1) {
    const during = await withConsumers();
    const after = await withoutConsumers();
    ratios.push((before.seconds + after.seconds) / 2 / during.seconds);
    cpuMicros.during.push(during.cpuMicros);
    cpuMicros.after.push(after.cpuMicros);
    before = after;
  }
  for (const { server } of [silent, publishing]) await stop(server.program);
  return {
    what: "PATCH /users/me: changes a second with a webhook, SSE, a WebSocket and RabbitMQ, compared with no consumer; CPU of the server for each change and the delivery of its event",
    measured: `${printRatios(ratios)}; ${median(cpuMicros.during).toFixed(0)} µs to ${median(cpuMicros.after).toFixed(0)} µs`,
    must: "≥ 0.90 ×",
    isMet: median(ratios) >= 0.9,
  };
}

interface Round {
  /** How long all changes took. */
  seconds: number;
  /** CPU time of the server for each change, until all consumers have all events. */
  cpuMicros: number;
}

type Ways = Record<string, (onEvent: OnEvent) => Promise<Follower>>;

/** Starts the consumers, makes the changes, waits for all events, stops the consumers. */
async function measureRound(workspace: Workspace, measured: Measured, ways: Ways): Promise<Round> {
  const changes = isQuick ? 500 : 2_000;
  const followers: Record<string, Awaited<ReturnType<typeof measureDelays>>> = {};
  for (const [name, way] of Object.entries(ways)) followers[name] = await measureDelays(way);
  const before = cpuMicrosOf(measured.server.pid);
  const seconds = await change(workspace, measured, { changes });
  const until = performance.now() + ARRIVAL_MAX_MS;
  for (const [name, { delays }] of Object.entries(followers))
    while (delays.length < changes) {
      if (performance.now() > until)
        throw new Error(`${name}: ${delays.length} of ${changes} events arrived`);
      await sleep(CHECK_EVERY_MS);
    }
  const cpuMicros = (cpuMicrosOf(measured.server.pid) - before) / changes;
  for (const follower of Object.values(followers)) await follower.stop();
  await sleep(ROUND_SETTLE_MS);
  return { seconds, cpuMicros };
}

const ARRIVAL_MAX_MS = 60_000;
const CHECK_EVERY_MS = 20;
const ROUND_SETTLE_MS = 1_000;

/** How fast waiting events go to one webhook. */
async function measureWebhook(workspace: Workspace): Promise<Row> {
  const measured = await openMeasured(workspace);
  const events = isQuick ? 1_000 : 5_000;
  let received = 0;
  let firstAt = 0;
  const { promise: done, resolve } = Promise.withResolvers<number>();
  const webhook = await followByWebhook(measured.server, measured.token, (text) => {
    if (!text.includes('"user.updated"')) return;
    received += 1;
    if (received === 1) firstAt = performance.now();
    if (received === events) resolve(performance.now() - firstAt);
  });
  await webhook.enable(false);
  await change(workspace, measured, { changes: events });
  await webhook.enable(true);
  const rate = (events - 1) / ((await done) / 1_000);
  await webhook.stop();
  await stop(measured.server.program);
  return {
    what: "deliveries a second to one webhook",
    measured: rate.toFixed(0),
    must: "≥ 300",
    isMet: rate >= 300,
  };
}

await runBenchmark(async (workspace, report) => {
  report("Measuring delays");
  const delays = await measureDelay(workspace);
  report("Measuring changes");
  const changes = await measureChanges(workspace);
  report("Measuring a webhook");
  const webhook = await measureWebhook(workspace);
  report("Measuring many clients");
  const crowds = await measureCrowds(workspace);
  const table = printTable([changes, ...delays, webhook, ...crowds]);
  console.log(table);
  if (Bun.argv.includes("--write")) await writeTable("events", table);
});
