import { setImmediate as turn } from "node:timers/promises";

/**
 * Whether Bun has closed the connection of a request: the client then gets no response
 * (docs/bun.md). Bun closes it if bytes follow a request that is not answered yet. Bun parses bytes
 * that arrived with the request in the same turn of the event loop, so this waits for the next
 * turn. Bytes that arrive later cannot be foreseen.
 */
export async function isConnectionClosed({ signal }: Request): Promise<boolean> {
  await turn();
  return signal.aborted;
}
