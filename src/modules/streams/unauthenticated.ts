import { Problem } from "../../kit/problem.ts";

/** Each connection has a few seconds. */
const CONNECTIONS_MAX = 1_000;
/** Many users of one office or proxy may connect again at once. */
const CONNECTIONS_PER_CLIENT_MAX = 100;

/** The WebSockets that have not authenticated yet, in all and of each client. */
export interface Unauthenticated {
  /**
   * Counts a connection until the returned function is called, once. Throws `too_many_streams` and
   * `streams_unavailable`.
   */
  acquire: (clientKey: string | null) => () => void;
}

export function countUnauthenticated(): Unauthenticated {
  const byClient = new Map<string | null, number>();
  let total = 0;
  const release = (clientKey: string | null) => {
    total -= 1;
    const left = (byClient.get(clientKey) ?? 0) - 1;
    if (left > 0) byClient.set(clientKey, left);
    else byClient.delete(clientKey);
  };
  return {
    acquire: (clientKey) => {
      const own = byClient.get(clientKey) ?? 0;
      if (own >= CONNECTIONS_PER_CLIENT_MAX)
        throw new Problem("too_many_streams", {
          detail: "This client has too many WebSockets that have not authenticated",
        });
      if (total >= CONNECTIONS_MAX) throw new Problem("streams_unavailable");
      total += 1;
      byClient.set(clientKey, own + 1);
      return () => release(clientKey);
    },
  };
}
