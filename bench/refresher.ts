/**
 * Refreshes sessions over one connection each. `bun bench/refresher.ts
 * '{"port":3000,"tokens":["rt_…"],"refreshes":1000}'` prints the time that it took and the current
 * tokens, as JSON.
 */
import { type Exchange, isComplete, requestOf } from "./load.ts";

interface RefreshLoad {
  port: number;
  tokens: string[];
  refreshes: number;
}

export interface RefreshResult {
  seconds: number;
  /** The current token of each session. */
  tokens: string[];
}

interface State extends Exchange {
  lane: number;
  text: string;
}

function refresh({ port, tokens, refreshes }: RefreshLoad): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const startedAt = performance.now();
  let sent = 0;
  let received = 0;
  const sendNext = (socket: Bun.Socket<State>) => {
    const { lane } = socket.data;
    if (sent >= refreshes) return;
    sent += 1;
    socket.data = { lane, head: "", leftBytes: 0, text: "" };
    socket.write(
      requestOf({
        method: "POST",
        path: "/api/v1/auth/refresh",
        port,
        requests: 0,
        connections: 0,
        headers: { "content-type": "application/json", "x-forwarded-for": `10.0.0.${lane}` },
        body: JSON.stringify({ refresh_token: tokens[lane] }),
      }),
    );
  };
  const data = (socket: Bun.Socket<State>, chunk: Buffer) => {
    socket.data.text += chunk.toString("latin1");
    if (!isComplete(socket.data, chunk)) return;
    const { lane, text } = socket.data;
    const [, token] = /"refresh_token":"([^"]+)"/.exec(text) ?? [];
    if (token === undefined) return reject(new Error(`a refresh returned:\n${text}`));
    tokens[lane] = token;
    received += 1;
    if (received === refreshes) resolve((performance.now() - startedAt) / 1000);
    else sendNext(socket);
  };
  const close = () => reject(new Error("the server closed the connection"));
  for (const lane of tokens.keys())
    Bun.connect<State>({
      hostname: "127.0.0.1",
      port,
      data: { lane, head: "", leftBytes: 0, text: "" },
      socket: { open: sendNext, data, close, error: (_, error) => reject(error) },
    }).catch(reject);
  return promise;
}

const load: RefreshLoad = JSON.parse(Bun.argv[2] ?? "{}");
const result: RefreshResult = { seconds: await refresh(load), tokens: load.tokens };
console.log(JSON.stringify(result));
process.exit(0);
