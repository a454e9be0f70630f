/** What to send, how often, and over how many connections; each sends its next request when it has its answer. */
export interface Load {
  port: number;
  method: "GET" | "POST";
  path: string;
  headers: Record<string, string>;
  body: string;
  requests: number;
  connections: number;
}

/** One connection: the head that has come in so far, and how much of the body is still to come. */
export interface Exchange {
  head: string;
  leftBytes: number;
}

const HEAD_END = "\r\n\r\n";

/** Sends the load and answers how many seconds it took. Any answer but a 200 ends it. */
function send(load: Load): Promise<number> {
  const request = requestOf(load);
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const startedAt = performance.now();
  let sent = 0;
  let answered = 0;

  const sendNext = (socket: Bun.Socket<Exchange>) => {
    if (sent >= load.requests) return;
    sent += 1;
    socket.data = { head: "", leftBytes: 0 };
    socket.write(request);
  };
  const data = (socket: Bun.Socket<Exchange>, chunk: Buffer) => {
    if (!isComplete(socket.data, chunk)) return;
    if (!socket.data.head.startsWith("HTTP/1.1 200"))
      reject(new Error(`${load.path} answered:\n${socket.data.head}`));
    answered += 1;
    if (answered === load.requests) resolve((performance.now() - startedAt) / 1000);
    else sendNext(socket);
  };
  const close = () => reject(new Error(`${load.path}: the server hung up`));
  for (let each = 0; each < load.connections; each += 1)
    Bun.connect<Exchange>({
      hostname: "127.0.0.1",
      port: load.port,
      data: { head: "", leftBytes: 0 },
      socket: { open: sendNext, data, close, error: (_, error) => reject(error) },
    }).catch(reject);
  return promise;
}

export function requestOf({ method, path, headers, body }: Load): string {
  const all = { host: "localhost", ...headers, "content-length": String(Buffer.byteLength(body)) };
  const lines = Object.entries(all)
    .filter(([name]) => method === "POST" || name !== "content-length")
    .map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${path} HTTP/1.1\r\n${lines.join("")}\r\n${body}`;
}

/** Takes in a chunk; true when the answer is whole. Every answer that is measured says its Content-Length. */
export function isComplete(exchange: Exchange, chunk: Buffer): boolean {
  if (exchange.leftBytes > 0) {
    exchange.leftBytes -= chunk.length;
    return exchange.leftBytes === 0;
  }
  exchange.head += chunk.toString("latin1");
  const end = exchange.head.indexOf(HEAD_END);
  if (end < 0) return false;
  const bodyBytes = Number(/^content-length: (\d+)/im.exec(exchange.head.slice(0, end))?.[1]);
  if (Number.isNaN(bodyBytes)) throw new Error(`an answer without its length:\n${exchange.head}`);
  exchange.leftBytes = bodyBytes - (exchange.head.length - end - HEAD_END.length);
  return exchange.leftBytes === 0;
}

if (import.meta.main) {
  const seconds = await send(JSON.parse(Bun.argv[2] ?? "{}"));
  console.log(JSON.stringify({ seconds }));
  process.exit(0);
}
