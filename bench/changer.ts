/**
 * Changes the names of users, one event each. `bun bench/changer.ts
 * '{"port":3000,"tokens":["…"],"changes":1000,"everyMs":0}'` prints how many seconds it took, as
 * JSON. Each token has its own connection. With `everyMs`, one change begins each `everyMs`.
 */
import { type Exchange, isComplete } from "./load.ts";

export interface ChangeLoad {
  port: number;
  tokens: string[];
  changes: number;
  everyMs: number;
}

interface State extends Exchange {
  token: string;
}

const requestOf = (token: string, name: string): string => {
  const body = JSON.stringify({ full_name: name });
  return [
    "PATCH /api/v1/users/me HTTP/1.1",
    "host: localhost",
    `authorization: Bearer ${token}`,
    "content-type: application/json",
    `content-length: ${body.length}`,
    "",
    body,
  ].join("\r\n");
};

function change({ port, tokens, changes, everyMs }: ChangeLoad): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const startedAt = performance.now();
  const waiting: Bun.Socket<State>[] = [];
  let sent = 0;
  let received = 0;
  const sendNext = (socket: Bun.Socket<State>) => {
    if (sent >= changes) return;
    sent += 1;
    const { token } = socket.data;
    socket.data = { token, head: "", leftBytes: 0 };
    socket.write(requestOf(token, `Name ${sent}`));
  };
  const isReady = (socket: Bun.Socket<State>) => {
    if (everyMs === 0) sendNext(socket);
    else waiting.push(socket);
  };
  const data = (socket: Bun.Socket<State>, chunk: Buffer) => {
    if (!isComplete(socket.data, chunk)) return;
    if (!socket.data.head.startsWith("HTTP/1.1 200"))
      reject(new Error(`PATCH returned:\n${socket.data.head}`));
    received += 1;
    if (received === changes) resolve((performance.now() - startedAt) / 1000);
    else isReady(socket);
  };
  const close = () => reject(new Error("the server closed the connection"));
  for (const token of tokens)
    Bun.connect<State>({
      hostname: "127.0.0.1",
      port,
      data: { token, head: "", leftBytes: 0 },
      socket: { open: isReady, data, close, error: (_, error) => reject(error) },
    }).catch(reject);
  if (everyMs > 0)
    setInterval(() => {
      const socket = waiting.shift();
      if (socket) sendNext(socket);
    }, everyMs);
  return promise;
}

const seconds = await change(JSON.parse(Bun.argv[2] ?? "{}"));
console.log(JSON.stringify({ seconds }));
process.exit(0);
