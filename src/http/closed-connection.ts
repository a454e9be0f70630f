import { setImmediate as turn } from "node:timers/promises";

/**
 * Whether Bun has closed the connection, so that the client gets no response (docs/bun.md): bytes
 * followed a request that is not answered yet. Bun parses bytes that arrived with the request in
 * the same turn of the event loop, so this waits for the next turn.
 */
export async function isConnectionClosed({ signal }: Request): Promise<boolean> {
  await turn();
  return signal.aborted;
}
