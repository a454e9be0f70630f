/** What stands between Bunker and its database, and can be shut. */
import { createServer, connect as dial, type Server, type Socket } from "node:net";

export interface Gate {
  port: number;
  /** Everything is cut, and nothing is let in. */
  shut: () => void;
  /** Nothing is cut, and nothing comes through: neither bytes nor the news that somebody is gone. */
  freeze: () => void;
  /** What is connected never hears anything again; whoever comes anew is let in. */
  strand: () => void;
  /** Whoever comes is let in and sent away, as by a proxy that has nobody behind it. */
  turnAway: () => void;
  /** Every connection is cut; another one may come at once. */
  cut: () => void;
  open: () => Promise<void>;
  close: () => void;
}

export async function openGate(target: { host: string; port: number }): Promise<Gate> {
  const sockets = new Set<Socket>();
  let isFrozen = false;
  let isTurningAway = false;
  const join = (client: Socket) => {
    if (isTurningAway) return void client.destroy();
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
  const shut = () => {
    server?.close();
    server = undefined;
    cut();
  };
  const strand = () => {
    for (const one of sockets) one.pause();
  };
  return {
    port,
    cut,
    shut,
    strand,
    close: shut,
    turnAway: () => {
      isTurningAway = true;
      cut();
    },
    freeze: () => {
      isFrozen = true;
      strand();
    },
    open: async () => {
      isFrozen = false;
      isTurningAway = false;
      for (const one of sockets) one.resume();
      server ??= await listen(port);
    },
  };
}
