/** A network between Bunker and its database that can fail in several ways. */
import { createServer, connect as dial, type Server, type Socket } from "node:net";

export interface FaultyProxy {
  port: number;
  /** Connections are closed, and new ones refused. */
  refuse: () => void;
  /** Connections stay open, and nothing passes: neither bytes nor the end of a connection. */
  freeze: () => void;
  /** Existing connections get nothing any more. New ones work. */
  stall: () => void;
  /** New connections are accepted and closed, as by a proxy without a server. */
  dropNew: () => void;
  /** Connections are closed. New ones work at once. */
  cut: () => void;
  open: () => Promise<void>;
  close: () => void;
}

export async function openFaultyProxy(target: {
  host: string;
  port: number;
}): Promise<FaultyProxy> {
  const sockets = new Set<Socket>();
  let isFrozen = false;
  let isDroppingNew = false;
  const join = (client: Socket) => {
    if (isDroppingNew) return void client.destroy();
    const upstream = dial(target);
    const ends = [client, upstream] as const;
    for (const [at, one] of ends.entries()) {
      const other = ends[1 - at];
      sockets.add(one);
      if (isFrozen) one.pause();
      one.on("data", (chunk) => other?.write(chunk));
      one.on("error", () => other?.destroy());
      one.on("close", () => {
        sockets.delete(one);
        other?.destroy();
      });
    }
  };
  let server: Server | undefined;
  const listen = (port: number) =>
    new Promise<Server>((done) => {
      const opened = createServer(join);
      opened.listen(port, "127.0.0.1", () => done(opened));
    });
  server = await listen(0);
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  const cut = () => {
    for (const one of sockets) one.destroy();
  };
  const refuse = () => {
    server?.close();
    server = undefined;
    cut();
  };
  const stall = () => {
    for (const one of sockets) one.pause();
  };
  return {
    port,
    cut,
    refuse,
    stall,
    close: refuse,
    dropNew: () => {
      isDroppingNew = true;
      cut();
    },
    freeze: () => {
      isFrozen = true;
      stall();
    },
    open: async () => {
      isFrozen = false;
      isDroppingNew = false;
      for (const one of sockets) one.resume();
      server ??= await listen(port);
    },
  };
}
