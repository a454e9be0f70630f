import { setTimeout as sleep } from "node:timers/promises";
import type { App } from "../app.ts";
import type { Config } from "../config/config.ts";
import type { Ctx } from "../ctx.ts";
import type { MigrationStatus } from "../db/migrate.ts";
import type { Handler } from "../http/request-context.ts";
import { startJobs } from "../jobs.ts";
import { misconfigured } from "../kit/exit.ts";
import { noMetrics } from "../kit/metrics.ts";
import { Problem, problemText } from "../kit/problem.ts";
import { within } from "../kit/within.ts";
import { keepEventOrder } from "../modules/events/order.ts";
import { prepareRelay } from "../modules/events/relay.ts";
import { prepareKeys } from "../modules/keys/keys.ts";
import { createFirstSuperuser } from "../modules/users/first-superuser.ts";
import { createPipeline } from "../pipeline.ts";
import type { Runtime } from "../runtime.ts";
import { type Wired, wire } from "../wire.ts";

const CHECK_EVERY_MS = 20;

/** The server with one set of settings. A reload replaces it without closing connections. */
export interface ServerInstance {
  ctx: Ctx;
  app: App;
  handle: Handler;
  /** Starts the background jobs. With HS256, also prepares earlier keys. */
  startJobs: () => void;
  /** From now on, each scrape reads this instance. Does nothing if metrics are off. */
  startMetrics: () => Promise<void>;
  /** Starts no more jobs. Resolves when no job runs. */
  stopJobs: () => Promise<void>;
  /**
   * Ends streams, and waits for jobs and requests in flight, `timeoutMs` at most. Then closes
   * everything.
   */
  close: (timeoutMs: number) => Promise<void>;
}

/** Throws an Exit with the reason, and leaves nothing open then. */
export async function openInstance(config: Config, runtime: Runtime): Promise<ServerInstance> {
  const wired = await wire(config, runtime);
  const { ctx } = wired;
  let isOpen = true;
  try {
    // While the database is prepared, build the app and let it answer a first request.
    const [app] = await Promise.all([warmApp(ctx), checkAndPrepare(wired)]);
    const pipeline = createPipeline(ctx, app);
    let stopJobs = async () => {};
    return {
      ctx,
      app,
      handle: pipeline.handle,
      stopJobs: () => stopJobs(),
      startJobs: () => {
        if (config.algorithm === "HS256") void prepareEarlierKeys(ctx, () => isOpen);
        stopJobs = startJobs(ctx);
      },
      startMetrics: async () => {
        if (ctx.metrics === noMetrics) return;
        const { collectors } = await import("../collectors.ts");
        const { database } = wired;
        await ctx.metrics.collect(collectors(ctx, { database, embedded: runtime.embedded }));
      },
      close: async (timeoutMs) => {
        isOpen = false;
        ctx.streams.close();
        await within(timeoutMs, Promise.all([stopJobs(), untilIdle(pipeline.running)]));
        pipeline.close();
        await wired.close();
      },
    };
  } catch (error) {
    isOpen = false;
    await wired.close();
    throw error;
  }
}

async function untilIdle(running: () => number): Promise<void> {
  while (running() > 0) await sleep(CHECK_EVERY_MS, undefined, { ref: false });
}

/**
 * Loads and builds the app, and sends it one request: Elysia compiles its hooks at the first
 * request. These steps block the event loop. It runs before and between them, so that the database
 * connects and executes the first statement at the same time.
 */
async function warmApp(ctx: Ctx): Promise<App> {
  await yieldToEventLoop();
  const { createApp } = await import("../app.ts");
  await yieldToEventLoop();
  const app = createApp(ctx);
  await yieldToEventLoop();
  await app.handle(new Request("http://localhost/livez"));
  return app;
}

/** Enough to connect to a database on the same machine. */
const YIELDS = 4;

/** Uses `setImmediate`, because a timer takes at least a millisecond. */
async function yieldToEventLoop(): Promise<void> {
  for (let count = 0; count < YIELDS; count += 1) await new Promise((next) => setImmediate(next));
}

async function checkAndPrepare(wired: Wired): Promise<void> {
  const schema = await wired.checkSchema();
  // Always traced, so that an unreachable trace collector is logged soon after the start.
  const work = () => prepare(wired, schema);
  await wired.ctx.tracing.begin({ name: "start" }, null, work);
}

async function prepare(
  { ctx, migrate }: Wired,
  { pending, unknown }: MigrationStatus,
): Promise<void> {
  const { config, log } = ctx;
  const applied = pending.length > 0 ? await migrate() : [];
  if (applied.length > 0) log.info({ applied }, "Migrations applied.");
  if (unknown.length > 0) log.warn({ unknown }, "The database schema is newer than this Bunker.");
  // Not in parallel with the keys: one statement after the other needs only one connection.
  await keepEventOrder(ctx);
  await prepareRelay(ctx);
  if (config.algorithm !== "HS256") await prepareKeys(ctx);
  const { firstSuperuserEmail: email, firstSuperuserPassword: password } = config;
  if (!email || !password) return;
  try {
    const superuser = await createFirstSuperuser(ctx, { kind: "operator" }, { email, password });
    if (superuser) log.info({ user_id: superuser.id }, "First superuser created.");
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    const hint =
      error.code === "email_taken" ? " If this user is yours, run: bunker users promote" : "";
    throw misconfigured(`FIRST_SUPERUSER_EMAIL: ${problemText(error)}${hint}`);
  }
}

/** The start does not wait for this: with HS256, they only verify tokens that are still valid. */
async function prepareEarlierKeys(ctx: Ctx, isOpen: () => boolean): Promise<void> {
  try {
    await prepareKeys(ctx);
  } catch (error) {
    if (isOpen()) ctx.log.error({ err: error }, "Earlier signing keys cannot be prepared.");
  }
}
