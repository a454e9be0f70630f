import type { Server } from "bun";
import type { Config } from "../../config.ts";
import { metricsOnly } from "../../http/metrics.ts";
import type { Answering } from "../../http/trail.ts";
import { Exit } from "../../kit/exit.ts";
import { DRAIN_MAX_MS, type Generations } from "./generations.ts";
import type { Role } from "./role.ts";

/** Beyond this Bun refuses without a body of ours; http/body reads 64 KiB at most, and answers 413 with a problem. */
const REQUEST_MAX_BYTES = 1 << 30;
/** Longer than most proxies keep a connection on which nothing comes: a request upon one that we close would be lost. */
export const IDLE_SECONDS = 100;

const NO_ADDRESS_OF_OURS = ["EADDRNOTAVAIL", "EINVAL", "ENOTFOUND"];

/** Throws an Exit where a server cannot listen at all: before anything else is started. */
export async function checkHosts({ host, metricsHost }: Config): Promise<void> {
  const nothing = () => new Response();
  await listenOn({ host, port: 0, setting: "PORT" }, nothing).stop(true);
  await listenOn({ host: metricsHost, port: 0, setting: "METRICS_PORT" }, nothing).stop(true);
}

/** Opens what is served to everybody, and in the one that leads, what is only for whoever watches. Throws an Exit. */
export async function listen(
  { host, port, metricsHost, metricsPort }: Config,
  { purpose, isSeveral }: Role,
  { current }: Generations,
): Promise<Server<unknown>[]> {
  const door = { host, port, setting: "PORT" };
  // Where a port is shared, a stranger on it would not be noticed.
  if (isSeveral && purpose === "serve") await listenOn(door, current().answer).stop(true);
  const server = listenOn({ ...door, isShared: isSeveral }, (request) => current().answer(request));
  // By it the app learns the address of whoever asks.
  current().app.server = server;
  if (metricsPort === undefined || purpose !== "serve") return [server];
  const figures = { host: metricsHost, port: metricsPort, setting: "METRICS_PORT" };
  return [server, listenOn(figures, (request) => metricsOnly(current().ctx)(request))];
}

interface Doorstep {
  host: string;
  port: number;
  setting: string;
  /** Bun shares the port by default outside development: a second server would quietly take half of the requests. */
  isShared?: boolean;
}

function listenOn(
  { host, port, setting, isShared = false }: Doorstep,
  fetch: Answering,
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
    const hostSetting = setting.replace("PORT", "HOST");
    if (NO_ADDRESS_OF_OURS.includes(code))
      throw new Exit(
        "badConfiguration",
        `${hostSetting} must be an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all of them; it is ${host}.`,
      );
    throw new Exit(
      "failed",
      `Cannot listen on ${host}:${port} (${code}). Set ${hostSetting} or ${setting} to another one.`,
    );
  }
}

/** Answers the requests in flight, and takes no more. */
export async function drain(servers: Server<unknown>[]): Promise<void> {
  const stopAll = (isAtOnce: boolean) => Promise.all(servers.map((one) => one.stop(isAtOnce)));
  const patience = setTimeout(() => stopAll(true), DRAIN_MAX_MS);
  await stopAll(false);
  clearTimeout(patience);
}
