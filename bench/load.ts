/** A request, how often to send it, and over how many connections. Each waits for its response. */
export interface Load {
  port: number;
  method: "GET" | "POST";
  path: string;
  headers: Record<string, string>;
  body: string;
  requests: number;
  connections: number;
}

/** The response on one connection: its head so far, and the bytes of its body that are missing. */
export interface Exchange {
  head: string;
  leftBytes: number;
}

const HEAD_END = "\r\n\r\n";

/** Sends the load and returns how many seconds it took. Throws for any other status than 200. */
function send(load: Load): Promise<number> {
  const request = requestOf(load);
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const startedAt = performance.now();
  let sent = 0;
  let received = 0;

  const sendNext = (socket: Bun.Socket<Exchange>) => {
    if (sent >= load.requests) return;
    sent += 1;
    socket.data = { head: "", leftBytes: 0 };
    socket.write(request);
  };
  const data = (socket: Bun.Socket<Exchange>, chunk: Buffer) => {
    if (!isComplete(socket.data, chunk)) return;
    if (!socket.data.head.startsWith("HTTP/1.1 200"))
      reject(new Error(`${load.path} returned:\n${socket.data.head}`));
    received += 1;
    if (received === load.requests) resolve((performance.now() - startedAt) / 1000);
    else sendNext(socket);
  };
  const close = () => reject(new Error(`${load.path}: the server closed the connection`));
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

/** Reads a chunk, and returns whether the response is complete. It must have a Content-Length. */
export function isComplete(exchange: Exchange, chunk: Buffer): boolean {
  if (exchange.leftBytes > 0) {
    exchange.leftBytes -= chunk.length;
    return exchange.leftBytes === 0;
  }
  exchange.head += chunk.toString("latin1");
  const end = exchange.head.indexOf(HEAD_END);
  if (end < 0) return false;
  const bodyBytes = Number(/^content-length: (\d+)/im.exec(exchange.head.slice(0, end))?.[1]);
  if (Number.isNaN(bodyBytes))
    throw new Error(`a response without Content-Length:\n${exchange.head}`);
  exchange.leftBytes = bodyBytes - (exchange.head.length - end - HEAD_END.length);
  return exchange.leftBytes === 0;
}

if (import.meta.main) {
  const seconds = await send(JSON.parse(Bun.argv[2] ?? "{}"));
  console.log(JSON.stringify({ seconds }));
  process.exit(0);
}
