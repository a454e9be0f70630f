/** A network between Bunker and its database that can break the change notifications. */
import { createServer, connect as dial, type Socket } from "node:net";

/**
 * Cut: connections are closed repeatedly. Black-holed: no bytes pass. Silent: all but notifications
 * pass.
 */
export type Trouble = "none" | "cut" | "black-holed" | "silent";

const NOTIFICATION = "A".charCodeAt(0);

export async function badNetwork(target: { host: string; port: number }) {
  let trouble: Trouble = "none";
  const listeners = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = dial(target);
    let isListener = false;
    let held: Buffer = Buffer.alloc(0);
    client.on("data", (chunk: Buffer): void => {
      if (chunk.includes("bunker listener")) {
        isListener = true;
        listeners.add(client);
        if (trouble === "cut") client.destroy();
      }
      if (isListener && trouble === "black-holed") return;
      upstream.write(chunk);
    });
    upstream.on("data", (chunk: Buffer): void => {
      if (!isListener) client.write(chunk);
      if (!isListener || trouble === "black-holed") return;
      held = Buffer.concat([held, chunk]);
      for (let message = firstOf(held); message.length > 0; message = firstOf(held)) {
        if (trouble !== "silent" || message[0] !== NOTIFICATION) client.write(message);
        held = held.subarray(message.length);
      }
    });
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      one.on("error", () => other.destroy());
      one.on("close", () => other.destroy());
    }
    client.on("close", () => listeners.delete(client));
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const address = server.address();
  return {
    port: typeof address === "object" && address ? address.port : 0,
    set: (next: Trouble) => {
      trouble = next;
      if (next === "cut") for (const one of listeners) one.destroy();
    },
    close: () => server.close(),
  };
}

/**
 * The first complete message of PostgreSQL's protocol: a letter, and the length of the rest. Empty
 * if there is none yet.
 */
function firstOf(bytes: Buffer): Buffer {
  const length = bytes.length < 5 ? Number.POSITIVE_INFINITY : 1 + bytes.readUInt32BE(1);
  return bytes.subarray(0, bytes.length < length ? 0 : length);
}
