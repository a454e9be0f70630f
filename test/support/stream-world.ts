import { afterAll } from "bun:test";
import type { Server } from "bun";
import type { Config } from "../../src/config/config.ts";
import { webSocketHandler } from "../../src/http/sockets.ts";
import { openSocket, openSse, type Socket, type Sse } from "./streams.ts";
import { world } from "./world.ts";

const servers: Server<unknown>[] = [];
const opened: { close: () => void }[] = [];
afterAll(async () => {
  for (const one of opened) one.close();
  for (const server of servers) await server.stop(true);
});

let last: Awaited<ReturnType<typeof world>> | undefined;

/** A world that listens on a port, for streams. */
export async function streamWorld(settings: Partial<Config> = {}) {
  // All worlds share one event signal, which the streams of another world would turn off.
  last?.ctx.streams.close();
  const here = await world(settings);
  last = here;
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: here.handle,
    websocket: webSocketHandler,
    development: false,
  });
  servers.push(server);
  here.app.server = server as typeof here.app.server;
  const url = `http://127.0.0.1:${server.port}/api/v1`;
  const kept = <T extends { close: () => void }>(one: T): T => {
    opened.push(one);
    return one;
  };
  const sse = async (
    path: string,
    token: string,
    headers: Record<string, string> = {},
  ): Promise<Sse> =>
    kept(await openSse(url + path, { authorization: `Bearer ${token}`, ...headers }));
  const socket = async (
    path: string,
    token: string | undefined,
    headers: Record<string, string> = {},
  ): Promise<Socket> => {
    const own = token === undefined ? {} : { authorization: `Bearer ${token}` };
    return kept(await openSocket(url + path, { headers: { ...own, ...headers } }));
  };
  return { ...here, server, url, sse, socket };
}
