import { setTimeout as sleep } from "node:timers/promises";
import { type App, createApp } from "../app.ts";
import type { Config } from "../config/config.ts";
import type { Ctx } from "../ctx.ts";
import type { MigrationStatus } from "../db/migrate.ts";
import type { Handler } from "../http/request-context.ts";
import { startJobs } from "../jobs.ts";
import { Exit } from "../kit/exit.ts";
import { noMetrics } from "../kit/metrics.ts";
import { Problem, wordsOf } from "../kit/problem.ts";
import { prepareKeys } from "../modules/keys/keys.ts";
import { createFirstSuperuser } from "../modules/users/first-superuser.ts";
import { createPipeline } from "../pipeline.ts";
import type { Runtime } from "../runtime.ts";
import { type Wired, wire } from "../wire.ts";

const TURN_MS = 1;
const LOOK_EVERY_MS = 20;

/** A server under one reading of its settings. The next one takes its place without closing a connection. */
export interface ServerInstance {
  ctx: Ctx;
  app: App;
  answer: Handler;
  /** Begins what happens in the background. */
  work: () => void;
  /** Lets its figures be read from now on, where somebody watches. */
  watch: () => Promise<void>;
  /** Begins nothing more in the background; resolves when nothing is under way there. */
  rest: () => Promise<void>;
  /** Lets what is under way finish, for `patienceMs` at most, and closes everything that it opened. */
  close: (patienceMs: number) => Promise<void>;
}

/** Throws an Exit that says what is not there; nothing is left open then. */
export async function openInstance(config: Config, runtime: Runtime): Promise<ServerInstance> {
  const wired = await wire(config, runtime);
  const { ctx } = wired;
  let isOpen = true;
  try {
    // The app is put together, and its first request answered, while the database is being reached.
    const [app, schema] = await Promise.all([warmApp(ctx), wired.answers()]);
    // Always followed: so it is soon said where nobody takes the traces.
    await ctx.tracing.begin({ name: "start" }, null, () => prepare(wired, schema, () => isOpen));
    const pipeline = createPipeline(ctx, app);
    let rest = async () => {};
    return {
      ...{ ctx, app, answer: pipeline.handle, rest: () => rest() },
      work: () => {
        rest = startJobs(ctx);
      },
      watch: async () => {
        if (ctx.metrics === noMetrics) return;
        const { gauges } = await import("../gauges.ts");
        await ctx.metrics.watch(
          gauges(ctx, { database: wired.database, embedded: runtime.embedded }),
        );
      },
      close: async (patienceMs) => {
        isOpen = false;
        const late = sleep(patienceMs, undefined, { ref: false });
        await Promise.race([Promise.all([rest(), untilNone(pipeline.running)]), late]);
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

async function untilNone(running: () => number): Promise<void> {
  while (running() > 0) await sleep(LOOK_EVERY_MS, undefined, { ref: false });
}

/**
 * An app that has answered once: Elysia compiles its way through the hooks at the first request. Each part is synchronous,
 * so the database's connection gets its turn before each.
 */
async function warmApp(ctx: Ctx): Promise<App> {
  await sleep(TURN_MS);
  const app = createApp(ctx);
  await sleep(TURN_MS);
  await app.handle(new Request("http://localhost/livez"));
  return app;
}

async function prepare(
  { ctx, migrate }: Wired,
  { pending, unknown }: MigrationStatus,
  isOpen: () => boolean,
): Promise<void> {
  const { config, log } = ctx;
  const applied = pending.length > 0 ? await migrate() : [];
  if (applied.length > 0) log.info({ applied }, "The database schema was brought up to date.");
  if (unknown.length > 0) log.warn({ unknown }, "The database schema is newer than this Bunker.");
  // Under HS256 there may be key pairs left of another algorithm, for which the start need not wait.
  if (config.algorithm === "HS256")
    void prepareKeys(ctx).catch((error) => {
      if (isOpen()) log.error({ err: error }, "Key pairs cannot be read.");
    });
  else await prepareKeys(ctx);
  const { firstSuperuserEmail: email, firstSuperuserPassword: password } = config;
  if (!email || !password) return;
  try {
    const superuser = await createFirstSuperuser(ctx, { kind: "operator" }, { email, password });
    if (superuser) log.info({ user_id: superuser.id }, "The first superuser was made.");
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    const hint = error.code === "email_taken" ? " If it is yours: bunker users promote." : "";
    throw new Exit("badConfiguration", `FIRST_SUPERUSER_EMAIL: ${wordsOf(error)}${hint}`);
  }
}
