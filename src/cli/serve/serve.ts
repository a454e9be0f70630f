import { setTimeout as sleep } from "node:timers/promises";
import type { Config } from "../../config.ts";
import type { Ctx } from "../../ctx.ts";
import { type Ground, openGround } from "../../ground.ts";
import { isCompiled, version } from "../../kit/build.ts";
import { tendMemory } from "../../kit/memory.ts";
import { authority } from "../../kit/network.ts";
import { hasSuperuser } from "../../modules/users/first-superuser.ts";
import { describePlace } from "../../wire.ts";
import { mention } from "../terminal.ts";
import { follow } from "./follow.ts";
import { type Generations, openGenerations } from "./generations.ts";
import { lead } from "./lead.ts";
import { checkHosts, drain, listen } from "./listen.ts";
import type { Role } from "./role.ts";

/**
 * Serves until SIGTERM or SIGINT; then says so at /readyz/server for SHUTDOWN_DELAY_SECONDS while it goes on serving, lets the
 * requests in flight finish, and closes everything that it opened. Upon SIGHUP it goes over to the settings as their files
 * now have them.
 */
export async function serve(config: Config): Promise<void> {
  await checkHosts(config);
  await serveAs(lead(config), config);
}

/** One of several processes under WORKERS, which another one has started. */
export const work = (config: Config): Promise<void> => serveAs(follow(), config);

async function serveAs(role: Role, config: Config): Promise<void> {
  const ground = await openGround(config, role);
  process.on("unhandledRejection", (error) =>
    ground.log.error({ err: error }, "A promise was rejected unheard."),
  );
  let generations: Generations | undefined;
  try {
    generations = await openGenerations(config, ground);
    const servers = await listen(config, role, generations);
    const stopped = role.stopped();
    await generations.begin();
    const { log, metrics } = ground;
    const begun = role.begin({ log, metrics, reload: generations.reload }).then(() => true);
    // Whoever asks it to end meanwhile does not wait until all serve.
    const isUp = await Promise.race([begun, stopped.then(() => false)]);
    if (isUp && role.purpose === "serve") await welcome(generations.current().ctx);
    const stopTending = tendMemory();
    await stopped;
    await leave(ground, config);
    stopTending();
    await generations.rest();
    await drain(servers);
    await role.end();
  } finally {
    await generations?.close();
    await ground.close();
  }
}

async function welcome(ctx: Ctx): Promise<void> {
  mention(await banner(ctx));
  warnOf(ctx);
}

function warnOf({ config, log, mail }: Ctx): void {
  if (config.rateLimit === "off")
    log.warn({}, "RATE_LIMIT=off: nothing limits how often anybody tries.");
  if (!mail)
    log.warn(
      {},
      "MAIL_URL is not set: mails wait until it is, and no user can reset a password. After too many failed sign-ins, unlock a user with: bunker users unlock",
    );
}

async function leave(
  { lifecycle, log }: Ground,
  { shutdownDelaySeconds: seconds }: Config,
): Promise<void> {
  lifecycle.isStopping = true;
  log.info({ seconds }, "Asked to end: no longer ready. A second signal ends at once.");
  await sleep(seconds * 1000);
}

/** How to call a command of this very program. */
const self = isCompiled ? process.argv0 : "npx -y bun@1.4.5 run start";

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
  const example = JSON.stringify({ email: "you@example.com", password: "a long pass phrase" });
  const lines = [
    `Bunker ${version}`,
    `  API        ${publicUrl}  (listening on ${authority(host, port)})`,
    `  Docs       ${publicUrl}/docs`,
    `  Database   ${describePlace(ctx.config)}`,
    `  Mail       ${mailOf(ctx)}`,
    ...metricsLine(ctx.config),
    // Only a hint: a database that is away for a moment ends nothing that serves.
    ...((await hasSuperuser(ctx).catch(() => true))
      ? []
      : [`  Superuser  none yet: register, then  ${self} users promote you@example.com`]),
    `  Try        curl ${publicUrl}/api/v1/auth/register -H 'content-type: application/json' -d '${example}'`,
  ];
  return lines.join("\n");
}
