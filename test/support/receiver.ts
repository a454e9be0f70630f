import { afterAll } from "bun:test";
import { type AddressInfo, createServer, type Socket } from "node:net";
import type { OutgoingOutcome } from "../../src/kit/outgoing.ts";

const closing: (() => void)[] = [];
afterAll(() => {
  for (const close of closing) close();
});

/** A receiver of webhooks. */
export interface Receiver {
  url: string;
  port: number;
  /** Each request, or a part of it, as it arrived. */
  received: string[];
  open: Set<Socket>;
}

/** A server of raw TCP, so that it can break every rule. `reply` is called for each part. */
export async function receiver(
  reply: (socket: Socket) => void,
  { host = "127.0.0.1", port = 0 } = {},
): Promise<Receiver> {
  const received: string[] = [];
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
    socket.on("error", () => {});
    socket.on("data", (data) => {
      received.push(String(data));
      reply(socket);
    });
  });
  await new Promise<void>((resolve) => server.listen(port, host, resolve));
  closing.push(() => {
    server.close();
    for (const socket of open) socket.destroy();
  });
  const { port: bound } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${bound}/hook`, port: bound, received, open };
}

export const head = (status: string, ...headers: string[]) =>
  `HTTP/1.1 ${status}\r\n${headers.map((line) => `${line}\r\n`).join("")}\r\n`;
export const answering = (body: string | Uint8Array<ArrayBuffer>, ...headers: string[]) =>
  receiver((socket) => {
    socket.write(head("200 OK", `content-length: ${Buffer.byteLength(body)}`, ...headers));
    socket.write(body);
  });
/** The status of a response, or the failure. */
export const resultOf = (outcome: OutgoingOutcome) =>
  "failure" in outcome ? outcome.failure : outcome.status;
export const bodyIn = (outcome: OutgoingOutcome) =>
  "body" in outcome ? outcome.body : outcome.failure;
