import { setTimeout as sleep } from "node:timers/promises";
import type { Server } from "bun";
import { openSupervisor } from "../adapters/supervisor.ts";
import { type App, createApp } from "../app.ts";
import type { Config } from "../config.ts";
import type { Ctx } from "../ctx.ts";
import { type MigrationStatus, migrate } from "../db/migrate.ts";
import { accessLog } from "../http/access-log.ts";
import { deadlined } from "../http/deadline.ts";
import { httpFigures, metricsOnly } from "../http/metrics.ts";
import { observed } from "../http/observed.ts";
import { parting } from "../http/parting.ts";
import { traced } from "../http/traced.ts";
import type { Answering } from "../http/trail.ts";
import { startJobs } from "../jobs.ts";
import { isCompiled, version } from "../kit/build.ts";
import { Exit } from "../kit/exit.ts";
import { tendMemory } from "../kit/memory.ts";
import { Problem, wordsOf } from "../kit/problem.ts";
import { prepareKeys } from "../modules/keys/keys.ts";
import { createFirstSuperuser, hasSuperuser } from "../modules/users/first-superuser.ts";
import { placeOf, type Wired, wire } from "../wire.ts";
import { print } from "./terminal.ts";

/** Beyond this Bun refuses without a body of ours; http/body reads 64 KiB at most, and answers 413 with a problem. */
const REQUEST_MAX_BYTES = 1 << 30;
const TURN_MS = 1;
const IDLE_SECONDS = 30;
const DRAIN_MAX_MS = 25_000;

/**
 * Serves until SIGTERM or SIGINT; then says so at /readyz for SHUTDOWN_DELAY_SECONDS while it goes on serving, lets the
 * requests in flight finish, and closes everything that it opened.
 */
export async function serve(config: Config): Promise<void> {
  const supervisor = openSupervisor(process.env);
  const wired = await wire(config, "serve");
  try {
    // The app is put together, and its first request answered, while the database is being reached.
    const answering = wired.answers();
    const [app, schema] = await Promise.all([warmApp(wired.ctx), answering]);
    await prepare(wired, schema);
    const servers = listen(wired.ctx, app);
    const stopped = untilStopped();
    supervisor.ready();
    print(await banner(wired));
    warnOf(wired.ctx);
    const stops = [startJobs(wired.ctx), tendMemory()];
    await stopped;
    supervisor.stopping();
    await leave(wired.ctx);
    for (const stop of stops) stop();
    await drain(servers);
  } finally {
    await wired.close();
    supervisor.close();
  }
}

function warnOf({ config, log, mail }: Ctx): void {
  if (config.rateLimit === "off")
    log.warn({}, "RATE_LIMIT=off: nothing limits how often anybody tries.");
  if (!mail) log.warn({}, "MAIL_URL is not set: mails wait until it is.");
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
  { ctx, database }: Wired,
  { pending, unknown }: MigrationStatus,
): Promise<void> {
  const { config, log } = ctx;
  const applied = pending.length > 0 ? await database.alone(migrate) : [];
  if (applied.length > 0) log.info({ applied }, "The database schema was brought up to date.");
  if (unknown.length > 0) log.warn({ unknown }, "The database schema is newer than this Bunker.");
  // Under HS256 there may be key pairs left of another algorithm, for which the start need not wait.
  if (config.algorithm === "HS256")
    void prepareKeys(ctx).catch((error) => log.error({ err: error }, "Key pairs cannot be read."));
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

function listen(ctx: Ctx, app: App): Server<unknown>[] {
  const { host, port, metricsHost, metricsPort } = ctx.config;
  process.on("unhandledRejection", (error) =>
    ctx.log.error({ err: error }, "A promise was rejected unheard."),
  );
  const observers = [...accessLog(ctx), ...httpFigures(ctx)];
  const answering = parting(ctx, traced(ctx, observed(deadlined(ctx, app.fetch), observers)));
  const server = listenOn({ host, port, setting: "PORT" }, answering);
  // By it the app learns the address of whoever asks.
  app.server = server;
  if (metricsPort === undefined) return [server];
  const figures = { host: metricsHost, port: metricsPort, setting: "METRICS_PORT" };
  return [server, listenOn(figures, metricsOnly(ctx))];
}

interface Doorstep {
  host: string;
  port: number;
  setting: string;
}

function listenOn({ host, port, setting }: Doorstep, fetch: Answering): Server<unknown> {
  try {
    return Bun.serve({
      hostname: host,
      port,
      fetch,
      maxRequestBodySize: REQUEST_MAX_BYTES,
      idleTimeout: IDLE_SECONDS,
      development: false,
      // Bun shares the port by default outside development: a second server would quietly take half of the requests.
      reusePort: false,
    });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Exit(
      "failed",
      `Cannot listen on ${host}:${port} (${code}). Set ${setting.replace("PORT", "HOST")} or ${setting} to another one.`,
    );
  }
}

const STOP_SIGNALS = ["SIGTERM", "SIGINT"] as const;

/**
 * The first signal asks to finish; from then on, and before the server listens, a signal ends the process at once: the
 * kernel stops the embedded database with it.
 */
function untilStopped(): Promise<void> {
  return new Promise((resolve) => {
    const stop = () => {
      for (const signal of STOP_SIGNALS) process.off(signal, stop);
      resolve();
    };
    for (const signal of STOP_SIGNALS) process.on(signal, stop);
  });
}

async function leave({ config, lifecycle, log }: Ctx): Promise<void> {
  const seconds = config.shutdownDelaySeconds;
  lifecycle.isStopping = true;
  log.info({ seconds }, "Asked to end: no longer ready. A second signal ends at once.");
  await sleep(seconds * 1000);
}

async function drain(servers: Server<unknown>[]): Promise<void> {
  const stopAll = (isAtOnce: boolean) => Promise.all(servers.map((one) => one.stop(isAtOnce)));
  const patience = setTimeout(() => stopAll(true), DRAIN_MAX_MS);
  await stopAll(false);
  clearTimeout(patience);
}

/** How to call a command of this very program. */
const self = isCompiled ? process.argv0 : "npx -y bun@1.4.5 run start";

const mailOf = ({ config, mail }: Ctx) => {
  if (!mail) return "MAIL_URL is not set: mails wait";
  if (mail.isMailbox) return `${config.publicUrl}/dev/mailbox`;
  return `from ${mail.from.address} by ${new URL(config.mailUrl ?? "").host}`;
};

const metricsLine = ({ publicUrl, metricsHost, metricsPort, metricsToken }: Config): string[] => [
  ...(metricsPort ? [`  Metrics    http://${metricsHost}:${metricsPort}/metrics`] : []),
  ...(metricsToken
    ? [`  Metrics    ${publicUrl}/metrics, with METRICS_TOKEN as a bearer token`]
    : []),
];

async function banner({ ctx }: Wired): Promise<string> {
  const { publicUrl, host, port } = ctx.config;
  const example = JSON.stringify({ email: "you@example.com", password: "a long pass phrase" });
  const lines = [
    `Bunker ${version}`,
    `  API        ${publicUrl}  (listening on ${host}:${port})`,
    `  Docs       ${publicUrl}/docs`,
    `  Database   ${placeOf(ctx.config)}`,
    `  Mail       ${mailOf(ctx)}`,
    ...metricsLine(ctx.config),
    ...((await hasSuperuser(ctx))
      ? []
      : [`  Superuser  none yet: register, then  ${self} users promote you@example.com`]),
    `  Try        curl ${publicUrl}/api/v1/auth/register -H 'content-type: application/json' -d '${example}'`,
  ];
  return lines.join("\n");
}
