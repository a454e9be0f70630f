/**
 * Sends requests over many connections for some seconds: a flood of sign-ins, or the requests of
 * one signed-in user during it. Prints the result as JSON.
 */
import { type Exchange, isComplete, type Load, requestOf } from "./load.ts";

export interface FloodLoad extends Load {
  seconds: number;
  /** Clients that obey wait as long as Retry-After says. All others retry at once. */
  obeysRetryAfter: boolean;
  /** Between a response and the next request of a connection. */
  pauseMs: number;
}

export interface FloodResult {
  /** The number of responses by status, and of connections that failed by reason. */
  responses: Record<string, number>;
  /** The times of the responses with 200, shortest first. */
  millis: number[];
}

async function flood(load: FloodLoad): Promise<FloodResult> {
  const request = requestOf(load);
  const endsAt = performance.now() + load.seconds * 1000;
  const result: FloodResult = { responses: {}, millis: [] };
  interface State extends Exchange {
    sentAt: number;
  }
  const sendNext = (socket: Bun.Socket<State>) => {
    socket.data = { head: "", leftBytes: 0, sentAt: performance.now() };
    socket.write(request);
  };
  const receive = (socket: Bun.Socket<State>, chunk: Buffer) => {
    if (!isComplete(socket.data, chunk)) return;
    const { head, sentAt } = socket.data;
    const status = head.slice(9, 12);
    result.responses[status] = (result.responses[status] ?? 0) + 1;
    if (status === "200") result.millis.push(performance.now() - sentAt);
    if (performance.now() > endsAt) return;
    const retryAfter = load.obeysRetryAfter
      ? Number(/^retry-after: (\d+)/im.exec(head)?.[1] ?? 0)
      : 0;
    const pauseMs = load.pauseMs + retryAfter * 1000 * (1 + Math.random() / 2);
    if (pauseMs > 0) setTimeout(sendNext, pauseMs, socket);
    else sendNext(socket);
  };
  const fail = (reason: string) => () => {
    if (performance.now() < endsAt) result.responses[reason] = (result.responses[reason] ?? 0) + 1;
  };
  for (let each = 0; each < load.connections; each += 1)
    Bun.connect<State>({
      hostname: "127.0.0.1",
      port: load.port,
      data: { head: "", leftBytes: 0, sentAt: 0 },
      socket: { open: sendNext, data: receive, close: fail("closed"), error: fail("error") },
    }).catch(fail("refused"));
  await Bun.sleep(load.seconds * 1000 + 3_000);
  result.millis.sort((a, b) => a - b);
  return result;
}

if (import.meta.main) {
  console.log(JSON.stringify(await flood(JSON.parse(Bun.argv[2] ?? "{}"))));
  process.exit(0);
}
