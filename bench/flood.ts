/**
 * One side of a flood of sign-ins, in a process of its own: `flood`, many connections that sign in without end, or `probe`,
 * somebody who is signed in already and reads her account meanwhile. Prints what came of it, as JSON.
 */
import { type Exchange, isComplete, type Load, requestOf } from "./load.ts";

export interface FloodLoad extends Load {
  seconds: number;
  /** Honest clients wait as long as Retry-After says; rude ones come back at once. */
  isHonest: boolean;
  /** Between an answer and the next request of a connection. */
  pauseMs: number;
}

export interface FloodResult {
  answers: Record<string, number>;
  /** Of the answers with 200, in the order of their length. */
  millis: number[];
}

async function flood(load: FloodLoad): Promise<FloodResult> {
  const request = requestOf(load);
  const endsAt = performance.now() + load.seconds * 1000;
  const result: FloodResult = { answers: {}, millis: [] };
  interface State extends Exchange {
    sentAt: number;
  }
  const next = (socket: Bun.Socket<State>) => {
    socket.data = { head: "", leftBytes: 0, sentAt: performance.now() };
    socket.write(request);
  };
  const answered = (socket: Bun.Socket<State>, chunk: Buffer) => {
    if (!isComplete(socket.data, chunk)) return;
    const { head, sentAt } = socket.data;
    const status = head.slice(9, 12);
    result.answers[status] = (result.answers[status] ?? 0) + 1;
    if (status === "200") result.millis.push(performance.now() - sentAt);
    if (performance.now() > endsAt) return;
    const retryAfter = load.isHonest ? Number(/^retry-after: (\d+)/im.exec(head)?.[1] ?? 0) : 0;
    const pauseMs = load.pauseMs + retryAfter * 1000 * (1 + Math.random() / 2);
    if (pauseMs > 0) setTimeout(next, pauseMs, socket);
    else next(socket);
  };
  const lost = (why: string) => () => {
    if (performance.now() < endsAt) result.answers[why] = (result.answers[why] ?? 0) + 1;
  };
  for (let each = 0; each < load.connections; each += 1)
    Bun.connect<State>({
      hostname: "127.0.0.1",
      port: load.port,
      data: { head: "", leftBytes: 0, sentAt: 0 },
      socket: { open: next, data: answered, close: lost("closed"), error: lost("error") },
    }).catch(lost("refused"));
  await Bun.sleep(load.seconds * 1000 + 3_000);
  result.millis.sort((a, b) => a - b);
  return result;
}

if (import.meta.main) {
  console.log(JSON.stringify(await flood(JSON.parse(Bun.argv[2] ?? "{}"))));
  process.exit(0);
}
