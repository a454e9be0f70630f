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
import { lead } from "./primary-process.ts";
import type { Role } from "./process-role.ts";
import { openReloader, type Reloader } from "./reload.ts";
import { follow } from "./worker-process.ts";

/**
 * Serves until SIGTERM or SIGINT; then says so at /readyz/server for SHUTDOWN_DELAY_SECONDS while
 * it goes on serving, lets the requests in flight finish, and closes everything that it opened. On
 * SIGHUP it reads the settings in files again and applies them.
 */
export async function serve(): Promise<void> {
  const settings = readSettings({ isServing: true });
  await checkHosts(settings.config);
  await serveAs(lead(settings.config), settings);
}

/** One of several processes under WORKERS, which another one has started. */
export const work = (): Promise<void> =>
  serveAs(follow(), { config: readConfig(process.env, { isServing: true }).config, warnings: [] });

async function serveAs(
  role: Role,
  { config, warnings }: ReturnType<typeof readSettings>,
): Promise<void> {
  const runtime = await openRuntime(config, { ...role, isColored: hasColor(STANDARD_ERROR) });
  logUnexpected(runtime);
  // Through the log of the server. If nobody reads standard error, each further log would block one
  // of the threads that hash passwords.
  for (const warning of warnings) runtime.log.warn({}, warning);
  let reloader: Reloader | undefined;
  try {
    reloader = await openReloader(config, runtime);
    const servers = await listen(config, role, reloader);
    const stopped = role.stopped();
    await reloader.begin();
    const { log, metrics } = runtime;
    const begun = role.begin({ log, metrics, reload: reloader.reload }).then(() => true);
    // A stop signal does not wait until all workers serve.
    const isUp = await Promise.race([begun, stopped.then(() => false)]);
    if (isUp && role.purpose === "serve") await welcome(reloader.current().ctx);
    const stopTending = watchMemory((error) =>
      log.warn({ err: error }, "The memory of this process cannot be read; trying again."),
    );
    await stopped;
    await leave(runtime, config);
    stopTending();
    await reloader.rest();
    await drain(servers);
    await role.end();
  } finally {
    await reloader?.close();
    await runtime.close();
  }
}

/**
 * Without these handlers, the runtime prints lines of source code into the log, and may end the
 * server.
 */
function logUnexpected({ log }: Runtime): void {
  let previous = "";
  const logOnce = (message: string) => (error: unknown) => {
    const description = JSON.stringify(describeError(error));
    // The same failure again and again must not fill the log.
    if (description !== previous) log.error({ err: error }, message);
    previous = description;
  };
  process.on("unhandledRejection", logOnce("Unhandled promise rejection."));
  process.on("uncaughtException", logOnce("Uncaught exception."));
}

async function welcome(ctx: Ctx): Promise<void> {
  announce(await banner(ctx));
  warnOf(ctx);
}

function warnOf({ config, log, mail }: Ctx): void {
  if (config.rateLimit === "off")
    log.warn({}, "RATE_LIMIT=off: requests and sign-ins have no limits. Use this for tests only.");
  if (!mail)
    log.warn(
      {},
      "MAIL_URL is not set: mails wait until it is, and no user can reset a password. After too many failed sign-ins, unlock a user with: bunker users unlock",
    );
}

async function leave(
  { lifecycle, log }: Runtime,
  { shutdownDelaySeconds: seconds }: Config,
): Promise<void> {
  lifecycle.isStopping = true;
  log.info({ seconds }, "Asked to end: no longer ready. A second signal ends at once.");
  await sleep(seconds * 1000);
}

const mailOf = ({ config, mail }: Ctx) => {
  if (!mail) return "MAIL_URL is not set: mails wait";
  if (mail.isMailbox) return `${config.publicUrl}/dev/mailbox`;
  return `from ${mail.from.address} by ${new URL(config.mailUrl ?? "").host}`;
};

const metricsLine = ({ publicUrl, metricsHost, metricsPort, metricsToken }: Config): string[] => [
  ...(metricsPort ? [`  Metrics    http://${authority(metricsHost, metricsPort)}/metrics`] : []),
  ...(metricsToken
    ? [`  Metrics    ${publicUrl}/metrics, with METRICS_TOKEN as a bearer token`]
    : []),
];

async function banner(ctx: Ctx): Promise<string> {
  const { publicUrl, host, port } = ctx.config;
  const superuser = await firstSuperuserCommand(ctx);
  const request = firstRequest(ctx.config);
  const lines = [
    `Bunker ${version}`,
    `  API        ${publicUrl}  (listening on ${authority(host, port)})`,
    `  Docs       ${publicUrl}/docs`,
    `  Database   ${describePlace(ctx.config)}`,
    `  Mail       ${mailOf(ctx)}`,
    ...metricsLine(ctx.config),
    ...(superuser ? [`  Superuser  none yet: ${superuser}`] : []),
    ...(request ? [`  Try        ${request}`] : []),
  ];
  return lines.join("\n");
}
