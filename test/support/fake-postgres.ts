import { createServer, type Socket } from "node:net";

/**
 * How a fake server fails. Otherwise it accepts all sessions and returns no rows for each
 * statement.
 */
export interface Answer {
  onStartup?: (parameters: Record<string, string>) => void;
  /** Refuses the session with this SQLSTATE. */
  refuseWith?: string;
  /** Fails a statement with this SQLSTATE. Undefined: returns no rows. */
  failWith?: (statement: string) => string | undefined;
  /** Closes the connection after a failed statement, as `FATAL` errors do. */
  isFatal?: boolean;
}

const SSL_REQUEST = 80_877_103;

/** A server with as much of PostgreSQL's protocol (version 3) as a driver needs to get an error. */
export async function fakeServer(answer: Answer, host = "127.0.0.1") {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket)).on("error", () => {});
    converse(socket, answer);
  });
  await new Promise<void>((done) => server.listen(0, host, done));
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  const close = async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((done) => server.close(done));
  };
  return { port, close };
}

function converse(socket: Socket, answer: Answer): void {
  let waiting = Buffer.alloc(0);
  let isStarted = false;
  let hasFailed = false;
  const startUp = (body: Buffer) => {
    if (body.readInt32BE(0) === SSL_REQUEST) return void socket.write("N");
    isStarted = true;
    const words = body.toString("utf8", 4).split("\0");
    const pairs = words.flatMap((word, at) => (at % 2 === 0 ? [[word, words[at + 1] ?? ""]] : []));
    answer.onStartup?.(Object.fromEntries(pairs.filter(([name]) => name !== "")));
    if (answer.refuseWith) return void socket.end(failure(answer.refuseWith, true));
    socket.write(Buffer.concat([message("R", Buffer.alloc(4)), READY]));
  };
  const fail = (state: string, isSimple: boolean) => {
    hasFailed = true;
    const said = failure(state, answer.isFatal ?? false);
    if (answer.isFatal) return void socket.end(said);
    socket.write(isSimple ? Buffer.concat([said, READY]) : said);
  };
  const receive = (type: string, body: Buffer) => {
    if (type === "X") return void socket.end();
    const at = type === "P" ? body.indexOf(0) + 1 : 0;
    const state =
      /[QP]/.test(type) && answer.failWith?.(body.toString("utf8", at, body.indexOf(0, at)));
    if (state) return fail(state, type === "Q");
    if (type === "Q") return void socket.write(Buffer.concat([message("C", "SELECT 0\0"), READY]));
    if (type === "S") {
      hasFailed = false;
      return void socket.write(READY);
    }
    const said = hasFailed ? undefined : replies[type];
    if (said) socket.write(said);
  };
  socket.on("data", (chunk: Buffer) => {
    waiting = Buffer.concat([waiting, chunk]);
    for (;;) {
      const head = isStarted ? 1 : 0;
      if (waiting.length < head + 4) return;
      const end = head + waiting.readInt32BE(head);
      if (waiting.length < end) return;
      const [type, body] = [waiting.toString("latin1", 0, head), waiting.subarray(head + 4, end)];
      waiting = waiting.subarray(end);
      if (head === 0) startUp(body);
      else receive(type, body);
    }
  });
}

function message(type: string, body: Buffer | string): Buffer {
  const bytes = typeof body === "string" ? Buffer.from(body) : body;
  const head = Buffer.alloc(5);
  head.write(type, "latin1");
  head.writeInt32BE(bytes.length + 4, 1);
  return Buffer.concat([head, bytes]);
}

const READY = message("Z", "I");
const replies: Record<string, Buffer> = {
  P: message("1", ""),
  B: message("2", ""),
  D: Buffer.concat([message("t", "\0\0"), message("n", "")]),
  E: message("C", "SELECT 0\0"),
};

const failure = (state: string, isFatal: boolean) => {
  const severity = isFatal ? "FATAL" : "ERROR";
  return message("E", `S${severity}\0V${severity}\0C${state}\0Mno words\0\0`);
};
