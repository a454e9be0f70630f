import { setImmediate as turn } from "node:timers/promises";

/**
 * Whether Bun has closed the connection of a request. It does so when anything follows a request that is still being
 * answered: a pipelined request gets no answer, an empty line gets 400, and the answer to the first request is lost. What
 * arrived together with the request is parsed within this turn of the event loop. So a request that begins its work after
 * it is not carried out in vain. What arrives later cannot be foreseen.
 */
export async function isDropped({ signal }: Request): Promise<boolean> {
  await turn();
  return signal.aborted;
}
