import { isIP } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Server } from "bun";
import type { Config } from "../config/config.ts";
import { metricsHandler } from "../http/metrics.ts";
import type { Handler } from "../http/request-context.ts";
import { webSocketHandler } from "../http/sockets.ts";
import { Exit, misconfigured } from "../kit/exit.ts";
import { authority } from "../kit/network.ts";
import type { Role } from "./process-role.ts";
import { DRAIN_MAX_MS, type Reloader } from "./reload.ts";

/** Bun refuses a larger body without problem details. http/body refuses more than 64 KiB. */
const REQUEST_MAX_BYTES = 1 << 30;
/** If Bunker closed an idle connection before the proxy does, a request could be lost. */
export const IDLE_SECONDS = 100;

/** How long a graceful shutdown waits for a request that is already on its way. */
const QUIET_MS = 1_000;
const CHECK_EVERY_MS = 50;

const NOT_LOCAL_CODES = ["EADDRNOTAVAIL", "EINVAL", "ENOTFOUND", "ERR_INVALID_ARG_TYPE"];

const notLocal = ({ host, prefix }: Pick<Listener, "host" | "prefix">) =>
  misconfigured(
    `${prefix}HOST must be an IP of this machine, such as 127.0.0.1, or 0.0.0.0 for all of them; it is ${host}.`,
  );

/** Throws an Exit if the server cannot listen at all, before anything else is started. */
export async function checkHosts(config: Config): Promise<void> {
  const emptyResponse = () => new Response();
  for (const one of [apiListener(config), ...metricsListeners(config)]) {
    if (!(await canResolve(one.host))) throw notLocal(one);
    await listenOn({ ...one, port: 0 }, emptyResponse).stop(true);
  }
}

/** For a name that does not resolve, Bun.serve reports an unrelated, left-over errno. */
async function canResolve(host: string): Promise<boolean> {
  if (isIP(host) !== 0) return true;
  // Only now: the module would delay every start.
  const { lookup } = await import("node:dns/promises");
  return lookup(host).then(
    () => true,
    () => false,
  );
}

const apiListener = ({ host, port }: Config): Listener => ({ host, port, prefix: "" });

/** For METRICS_PORT, which serves only metrics. */
const metricsListeners = ({ metricsHost: host, metricsPort: port }: Config): Listener[] =>
  port === undefined ? [] : [{ host, port, prefix: "METRICS_" }];

/** Opens the API listener, and in the primary process also the metrics listener. Throws an Exit. */
export async function listen(
  config: Config,
  { purpose, isSeveral }: Role,
  { current }: Reloader,
): Promise<Server<unknown>[]> {
  const api = apiListener(config);
  // Without `reusePort` first: with it, another program on the same port would go unnoticed.
  if (isSeveral && purpose === "serve") await listenOn(api, current().handle).stop(true);
  const server = listenOn({ ...api, isShared: isSeveral }, (request) => current().handle(request));
  // The app reads the peer IP of a request from it.
  current().app.server = server;
  const others = purpose === "serve" ? metricsListeners(config) : [];
  const metrics = (request: Request) => metricsHandler(current().ctx)(request);
  return [server, ...others.map((one) => listenOn(one, metrics))];
}

interface Listener {
  host: string;
  port: number;
  /** The prefix of its two settings, HOST and PORT. */
  prefix: "" | "METRICS_";
  /**
   * Bun's default outside development: a second server would silently take half of the requests.
   */
  isShared?: boolean;
}

function listenOn(
  { host, port, prefix, isShared = false }: Listener,
  fetch: Handler,
): Server<unknown> {
  try {
    return Bun.serve({
      hostname: host,
      port,
      fetch,
      websocket: webSocketHandler,
      maxRequestBodySize: REQUEST_MAX_BYTES,
      idleTimeout: IDLE_SECONDS,
      development: false,
      reusePort: isShared,
    });
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    if (NOT_LOCAL_CODES.includes(code)) throw notLocal({ host, prefix });
    throw new Exit(
      "failed",
      `Cannot listen on ${authority(host, port)} (${code}). Set ${prefix}HOST or ${prefix}PORT to another one.`,
    );
  }
}

/**
 * Accepts no new connections. Bun also waits for connections on which a request head arrives
 * slowly, or an unread body. These are closed after the last response, or after DRAIN_MAX_MS.
 */
export async function drain(servers: Server<unknown>[]): Promise<void> {
  const stopAll = (isImmediate: boolean) =>
    Promise.all(servers.map((one) => one.stop(isImmediate)));
  await Promise.race([stopAll(false), untilIdle(servers)]);
  await stopAll(true);
}

async function untilIdle(servers: Server<unknown>[]): Promise<void> {
  const giveUpAt = performance.now() + DRAIN_MAX_MS;
  let closeAt = performance.now() + QUIET_MS;
  while (performance.now() < Math.min(closeAt, giveUpAt)) {
    await sleep(CHECK_EVERY_MS);
    const isPending = servers.some(({ pendingRequests }) => pendingRequests > 0);
    if (isPending) closeAt = performance.now() + QUIET_MS;
  }
}
