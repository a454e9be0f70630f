/** A network between Bunker and its database that can be broken where the news of changed accounts come through. */
import { createServer, connect as dial, type Socket } from "node:net";

/** Cut: it is closed again and again. Black-holed: nothing comes through any more. Silent: all but notifications do. */
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
      while (held.length >= 5 && held.length >= 1 + held.readUInt32BE(1)) {
        const length = 1 + held.readUInt32BE(1);
        const isNotification = held[0] === NOTIFICATION;
        if (!isNotification || trouble !== "silent") client.write(held.subarray(0, length));
        held = held.subarray(length);
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
