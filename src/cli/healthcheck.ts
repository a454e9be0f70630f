import { get } from "node:http";
import { loadConfig } from "../environment.ts";
import { Exit } from "../kit/exit.ts";
import { type JsonFlag, print } from "../terminal.ts";

const MAX_MS = 3_000;

/**
 * For containers without curl. Requests what proxies request: restarting the container would not
 * fix the database. Not by `fetch`, which would use HTTP_PROXY.
 */
export async function healthcheck({ json: isJson }: JsonFlag): Promise<void> {
  const { host, port } = await loadConfig();
  const address = { "0.0.0.0": "127.0.0.1", "::": "::1" }[host] ?? host;
  try {
    const status = await statusOf({ host: address, port, path: "/readyz/server" });
    if (status !== 200) throw new Error(`the server returned ${status}`);
    if (isJson) print(JSON.stringify({ is_serving: true }));
  } catch (error) {
    throw new Exit("failed", `Not serving: ${(error as Error).message}`);
  }
}

const statusOf = (place: { host: string; port: number; path: string }) =>
  new Promise<number | undefined>((resolve, reject) => {
    const signal = AbortSignal.timeout(MAX_MS);
    get({ ...place, signal }, (answer) => resolve(answer.resume().statusCode)).on("error", reject);
  });
