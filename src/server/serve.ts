import { setTimeout as sleep } from "node:timers/promises";
import { type Config, readConfig } from "../config/config.ts";
import type { Ctx } from "../ctx.ts";
import { describePlace } from "../db/explain.ts";
import { readSettings } from "../environment.ts";
import { version } from "../kit/build.ts";
import { describeError } from "../kit/log.ts";
import { authority } from "../kit/network.ts";
import { firstRequest, firstSuperuserCommand } from "../pages/start-page.ts";
import { openRuntime, type Runtime } from "../runtime.ts";
import { announce, hasColor, STANDARD_ERROR } from "../terminal.ts";
import { checkHosts, drain, listen } from "./listen.ts";
import { watchMemory } from "./memory.ts";
import { primaryRole } from "./primary-process.ts";
import type { Role } from "./process-role.ts";
import { openReloader, type Reloader } from "./reload.ts";
import { workerRole } from "./worker-process.ts";

const BACKGROUND_AFTER_MS = 5;

/**
 * Serves until SIGTERM or SIGINT. Then goes on for SHUTDOWN_DELAY_SECONDS while /readyz/server
 * reports it, and lets the requests in flight finish. On SIGHUP reads the settings in files again.
 */
export async function serve(): Promise<void> {
  const settings = readSettings({ isServing: true });
  await checkHosts(settings.config);
  await serveAs(primaryRole(settings.config), settings);
}

/** Serves as a worker process (WORKERS), which the primary process has started. */
export const serveAsWorker = (): Promise<void> =>
  serveAs(workerRole(), {
    config: readConfig(process.env, { isServing: true }).config,
    warnings: [],
  });

async function serveAs(
  role: Role,
  { config, warnings }: ReturnType<typeof readSettings>,
): Promise<void> {
  const runtime = await openRuntime(config, { ...role, isColored: hasColor(STANDARD_ERROR) });
  logUnexpected(runtime);
  // Not to standard error: an unread pipe would block a thread that hashes passwords.
  for (const warning of warnings) runtime.log.warn({}, warning);
  let reloader: Reloader | undefined;
  try {
    reloader = await openReloader(config, runtime);
    const servers = await listen(config, role, reloader);
    const stopped = role.stopped();
    // Requests that have waited for the start come before background work.
    await sleep(BACKGROUND_AFTER_MS);
    await reloader.start();
    const { log, metrics } = runtime;
    const started = role.begin({ log, metrics, reload: reloader.reload }).then(() => true);
    // A stop signal does not wait until all workers serve.
    const isUp = await Promise.race([started, stopped.then(() => false)]);
    if (isUp && role.purpose === "serve") await announceReady(reloader.current().ctx);
    const stopWatching = watchMemory(runtime.load, (error) =>
      log.warn({ err: error }, "Memory usage cannot be read; retrying."),
    );
    await stopped;
    await beginShutdown(runtime, config);
    stopWatching();
    await reloader.stopJobs();
    reloader.current().ctx.streams.close();
    await drain(servers);
    await role.end();
  } finally {
    await reloader?.close();
    await runtime.close();
  }
}

/** Otherwise the runtime prints lines of source code into the log, and may end the server. */
function logUnexpected({ log }: Runtime): void {
  let previous = "";
  const logOnce = (message: string) => (error: unknown) => {
    const description = JSON.stringify(describeError(error));
    // A repeated failure must not fill the log.
    if (description !== previous) log.error({ err: error }, message);
    previous = description;
  };
  process.on("unhandledRejection", logOnce("Unhandled promise rejection."));
  process.on("uncaughtException", logOnce("Uncaught exception."));
}

async function announceReady(ctx: Ctx): Promise<void> {
  const { config, log, mail } = ctx;
  announce(await banner(ctx));
  if (config.rateLimit === "off")
    log.warn({}, "RATE_LIMIT=off: requests and sign-ins have no limits. Use this for tests only.");
  if (config.webhooksAllowPrivate)
    log.warn(
      {},
      "WEBHOOKS_ALLOW_PRIVATE=true: webhooks can reach every host of your network. Use this for development and tests only.",
    );
  if (!mail)
    log.warn(
      {},
      "MAIL_URL is not set: mails wait, and no user can reset a password. After too many failed sign-ins, unlock a user with: bunker users unlock",
    );
}

async function beginShutdown(
  { lifecycle, log }: Runtime,
  { shutdownDelaySeconds: seconds }: Config,
): Promise<void> {
  lifecycle.isStopping = true;
  log.info({ seconds }, "Shutting down. A second signal ends the process at once.");
  await sleep(seconds * 1000);
}

const mailOf = ({ config, mail }: Ctx) => {
  if (!mail) return "MAIL_URL is not set: mails wait";
  if (mail.isMailbox) return `${config.publicUrl}/dev/mailbox`;
  return `from ${mail.from.address} by ${new URL(config.mailUrl ?? "").host}`;
};

/** Without the password. The start does not wait for the connection. */
const redisLine = ({ config: { redisUrl }, sharedStore }: Ctx): string[] => {
  if (redisUrl === undefined) return [];
  const state = sharedStore.state() === "ok" ? "connected" : "not connected: PostgreSQL counts";
  return [`  Redis      ${new URL(redisUrl).host} (${state})`];
};

/** Without user and password. It connects with the first event. */
const brokerLine = ({ brokerUrl }: Config): string[] => {
  if (brokerUrl === undefined) return [];
  const { protocol, host } = new URL(brokerUrl);
  const name = protocol.startsWith("amqp") ? "RabbitMQ" : "NATS";
  return [`  Events     to ${name} at ${host}`];
};

const metricsLine = ({ publicUrl, metricsHost, metricsPort, metricsToken }: Config): string[] => [
  ...(metricsPort ? [`  Metrics    http://${authority(metricsHost, metricsPort)}/metrics`] : []),
  ...(metricsToken
    ? [`  Metrics    ${publicUrl}/metrics, with METRICS_TOKEN as a bearer token`]
    : []),
];

const webhooksLine = ({ webhooksAllow }: Config): string[] =>
  webhooksAllow.length > 0 ? [`  Webhooks   also to ${webhooksAllow.join(", ")}`] : [];

async function banner(ctx: Ctx): Promise<string> {
  const { publicUrl, host, port } = ctx.config;
  const superuser = await firstSuperuserCommand(ctx);
  const request = firstRequest(ctx.config);
  const lines = [
    `Bunker ${version}`,
    `  API        ${publicUrl}  (listening on ${authority(host, port)})`,
    `  Docs       ${publicUrl}/docs`,
    `  Database   ${describePlace(ctx.config)}`,
    ...redisLine(ctx),
    ...brokerLine(ctx.config),
    `  Mail       ${mailOf(ctx)}`,
    ...metricsLine(ctx.config),
    ...webhooksLine(ctx.config),
    ...(superuser ? [`  Superuser  none yet: ${superuser}`] : []),
    ...(request ? [`  Try        ${request}`] : []),
  ];
  return lines.join("\n");
}
