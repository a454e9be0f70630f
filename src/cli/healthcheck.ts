import type { Config } from "../config.ts";
import { Exit } from "../kit/exit.ts";

const MAX_MS = 3_000;

/** For a container's HEALTHCHECK, where there is no curl. */
export async function healthcheck({ host, port }: Config): Promise<void> {
  const address = { "0.0.0.0": "127.0.0.1", "::": "[::1]" }[host] ?? host;
  // This machine's own server is behind no proxy.
  Object.assign(process.env, { NO_PROXY: "*", no_proxy: "*" });
  try {
    const answer = await fetch(`http://${address}:${port}/readyz`, {
      signal: AbortSignal.timeout(MAX_MS),
    });
    if (!answer.ok) throw new Error(await answer.text());
  } catch (error) {
    throw new Exit("failed", `Not ready: ${(error as Error).message}`);
  }
}
