/**
 * `bun bench/events.ts [--quick]` prints what it costs to publish events, and how soon they arrive.
 * Exit codes: 0 whatever the figures are, 1 if a measurement failed, 2 without a binary.
 */
import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { measureCrowds } from "./crowds.ts";
import {
  type Follower,
  followByNats,
  followByRabbitMq,
  followBySse,
  followByWebhook,
  followByWebSocket,
} from "./followers.ts";
import { binary, change, type Measured, openMeasured, percentile } from "./publishing.ts";
import { median, printRatios, printTable, type Row } from "./table.ts";
import { openWorkspace, stop, type Workspace } from "./workspace.ts";

const isQuick = Bun.argv.includes("--quick");
const amqpUrl = process.env["BENCH_AMQP_URL"] || "amqp://guest:guest@127.0.0.1:5672";
const natsUrl = process.env["BENCH_NATS_URL"] || "nats://127.0.0.1:4222";

/** 50 events a second while their delay is measured. */
const EVERY_MS = 20;
const SETTLE_MS = 2_000;

/** Follows, and keeps the milliseconds from the time of each `user.updated` to its arrival. */
async function measureDelays(
  follow: (onEvent: (envelope: string) => void) => Promise<Follower>,
): Promise<Follower & { delays: number[] }> {
  const delays: number[] = [];
  const follower = await follow((text) => {
    const { type, time } = JSON.parse(text) as { type: string; time: string };
    if (type === "user.updated") delays.push(Date.now() - Date.parse(time));
  });
  return { ...follower, delays };
}

type Ways = Record<string, (onEvent: (envelope: string) => void) => Promise<Follower>>;

const waysOf = ({ server, token }: Measured): Ways => ({
  webhook: (onEvent) => followByWebhook(server, token, onEvent),
  SSE: (onEvent) => followBySse(server, token, onEvent),
  WebSocket: (onEvent) => followByWebSocket(server, token, onEvent),
});

/** 50 events a second: the time from the record of an event to its arrival. */
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
      [broker]: (onEvent: (text: string) => void) => follow(url, onEvent),
    };
    const followers: Record<string, Awaited<ReturnType<typeof measureDelays>>> = {};
    for (const [name, way] of Object.entries(ways)) followers[name] = await measureDelays(way);
    await sleep(SETTLE_MS);
    await change(workspace, measured, { changes, everyMs: EVERY_MS });
    await sleep(SETTLE_MS);
    for (const [name, { delays, stop: end }] of Object.entries(followers)) {
      await end();
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

/** PATCH /users/me as fast as 16 clients can: with all ways to publish, and with none. */
async function measureChanges(workspace: Workspace): Promise<Row> {
  const none = await openMeasured(workspace);
  const all = await openMeasured(workspace, { BROKER_URL: amqpUrl });
  const ignore = () => {};
  const followers = [];
  for (const follow of Object.values(waysOf(all))) followers.push(await follow(ignore));
  followers.push(await followByRabbitMq(amqpUrl, ignore));
  const changes = isQuick ? 500 : 2_000;
  const ratios: number[] = [];
  for (let round = 0; round < (isQuick ? 3 : 9); round += 1) {
    const seconds = { none: 0, all: 0 };
    const sides = round % 2 === 0 ? (["none", "all"] as const) : (["all", "none"] as const);
    for (const side of sides)
      seconds[side] = await change(workspace, side === "all" ? all : none, { changes });
    ratios.push(seconds.none / seconds.all);
  }
  for (const follower of followers) await follower.stop();
  await Promise.all([none, all].map(({ server }) => stop(server.program)));
  return {
    what: "PATCH /users/me a second with webhook, SSE, WebSocket and RabbitMQ, compared with none",
    measured: printRatios(ratios),
    must: "≥ 0.90 ×",
    isMet: median(ratios) >= 0.9,
  };
}

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
  webhook.stop();
  await stop(measured.server.program);
  return {
    what: "deliveries a second to one webhook",
    measured: rate.toFixed(0),
    must: "≥ 300",
    isMet: rate >= 300,
  };
}

if (!existsSync(binary)) {
  console.error("dist/bunker is missing. Build it first: bun run build");
  process.exit(2);
}
const workspace = openWorkspace();
const report = (what: string) => console.error(`${what} …`);
try {
  report("Measuring delays");
  const delays = await measureDelay(workspace);
  report("Measuring changes");
  const changes = await measureChanges(workspace);
  report("Measuring a webhook");
  const webhook = await measureWebhook(workspace);
  report("Measuring many clients");
  const crowds = await measureCrowds(workspace);
  console.log(printTable([changes, ...delays, webhook, ...crowds]));
} catch (error) {
  if (!workspace.isInterrupted()) console.error(error);
  process.exitCode = 1;
} finally {
  await workspace.close();
}
process.exit();
