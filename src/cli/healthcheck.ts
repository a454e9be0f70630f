import { get } from "node:http";
import type { Config } from "../config.ts";
import { Exit } from "../kit/exit.ts";

const MAX_MS = 3_000;

/**
 * For a container's HEALTHCHECK, where there is no curl. Whoever starts unhealthy containers anew mends no database by it:
 * so it asks what proxies ask. Not by `fetch`, which would go through HTTP_PROXY.
 */
export async function healthcheck({ host, port }: Config): Promise<void> {
  const address = { "0.0.0.0": "127.0.0.1", "::": "::1" }[host] ?? host;
  try {
    const status = await statusOf({ host: address, port, path: "/readyz/server" });
    if (status !== 200) throw new Error(`it answers ${status}`);
  } catch (error) {
    throw new Exit("failed", `Not serving: ${(error as Error).message}`);
  }
}

const statusOf = (place: { host: string; port: number; path: string }) =>
  new Promise<number | undefined>((resolve, reject) => {
    const signal = AbortSignal.timeout(MAX_MS);
    get({ ...place, signal }, (answer) => resolve(answer.resume().statusCode)).on("error", reject);
  });
