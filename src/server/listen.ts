import { lookup } from "node:dns/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { Server } from "bun";
import type { Config } from "../config/config.ts";
import { metricsOnly } from "../http/metrics.ts";
import type { Handler } from "../http/request-context.ts";
import { Exit } from "../kit/exit.ts";
import { authority } from "../kit/network.ts";
import type { Role } from "./process-role.ts";
import { DRAIN_MAX_MS, type Reloader } from "./reload.ts";

/** Beyond this Bun refuses without a body of ours; http/body reads 64 KiB at most, and answers 413 with a problem. */
const REQUEST_MAX_BYTES = 1 << 30;
/** Longer than most proxies keep a connection on which nothing comes: a request upon one that we close would be lost. */
export const IDLE_SECONDS = 100;

/** For a request that is just being sent when the last one has been answered. */
const QUIET_MS = 1_000;
const LOOK_EVERY_MS = 50;

const NO_ADDRESS_OF_OURS = ["EADDRNOTAVAIL", "EINVAL", "ENOTFOUND", "ERR_INVALID_ARG_TYPE"];

const noAddressOfOurs = ({ host, prefix }: Pick<Listener, "host" | "prefix">) =>
  new Exit(
    "badConfiguration",
    `${prefix}HOST must be an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all of them; it is ${host}.`,
  );

/** Throws an Exit where a server cannot listen at all: before anything else is started. */
export async function checkHosts(config: Config): Promise<void> {
  const nothing = () => new Response();
  for (const one of [apiListener(config), ...metricsListeners(config)]) {
    // Bun.serve reports any leftover errno where a name does not resolve.
    const [found] = await Promise.allSettled([lookup(one.host)]);
    if (found.status === "rejected") throw noAddressOfOurs(one);
    await listenOn({ ...one, port: 0 }, nothing).stop(true);
  }
}

/** For everybody. */
const apiListener = ({ host, port }: Config): Listener => ({ host, port, prefix: "" });

/** For whoever watches. */
const metricsListeners = ({ metricsHost: host, metricsPort: port }: Config): Listener[] =>
  port === undefined ? [] : [{ host, port, prefix: "METRICS_" }];

/** Opens what is served to everybody, and in the one that leads, what is only for whoever watches. Throws an Exit. */
export async function listen(
  config: Config,
  { purpose, isSeveral }: Role,
  { current }: Reloader,
): Promise<Server<unknown>[]> {
  const api = apiListener(config);
  // Where a port is shared, a stranger on it would not be noticed.
  if (isSeveral && purpose === "serve") await listenOn(api, current().answer).stop(true);
  const server = listenOn({ ...api, isShared: isSeveral }, (request) => current().answer(request));
  // By it the app learns the address of whoever asks.
  current().app.server = server;
  const others = purpose === "serve" ? metricsListeners(config) : [];
  const figures = (request: Request) => metricsOnly(current().ctx)(request);
  return [server, ...others.map((one) => listenOn(one, figures))];
}

interface Listener {
  host: string;
  port: number;
  /** Of its two settings. */
  prefix: "" | "METRICS_";
  /** Bun shares the port by default outside development: a second server would quietly take half of the requests. */
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
      maxRequestBodySize: REQUEST_MAX_BYTES,
      idleTimeout: IDLE_SECONDS,
      development: false,
      reusePort: isShared,
    });
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    if (NO_ADDRESS_OF_OURS.includes(code)) throw noAddressOfOurs({ host, prefix });
    throw new Exit(
      "failed",
      `Cannot listen on ${authority(host, port)} (${code}). Set ${prefix}HOST or ${prefix}PORT to another one.`,
    );
  }
}

/**
 * Answers the requests in flight, and takes no more. Bun also waits for connections on which a head arrives slowly, or a body
 * that no route reads: these are closed when all requests have been answered.
 */
export async function drain(servers: Server<unknown>[]): Promise<void> {
  const stopAll = (isAtOnce: boolean) => Promise.all(servers.map((one) => one.stop(isAtOnce)));
  await Promise.race([stopAll(false), untilAnswered(servers)]);
  await stopAll(true);
}

async function untilAnswered(servers: Server<unknown>[]): Promise<void> {
  const giveUpAt = performance.now() + DRAIN_MAX_MS;
  let closeAt = performance.now() + QUIET_MS;
  while (performance.now() < Math.min(closeAt, giveUpAt)) {
    await sleep(LOOK_EVERY_MS);
    const isPending = servers.some(({ pendingRequests }) => pendingRequests > 0);
    if (isPending) closeAt = performance.now() + QUIET_MS;
  }
}
