import { connect } from "node:net";
import type { Server } from "bun";

type Fetch = (request: Request) => Response | Promise<Response>;

/** A server on loopback for raw requests that no HTTP client would write. */
export function rawRequests(fetch: Fetch, whenListening: (server: Server<unknown>) => void) {
  const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch, development: false });
  whenListening(server);
  const raw = (bytes: string): Promise<string> =>
    new Promise((resolve, reject) => {
      let said = "";
      const socket = connect(server.port ?? 0, "127.0.0.1", () => socket.write(bytes));
      socket.on("data", (chunk) => {
        said += chunk.toString("latin1");
      });
      socket.on("close", () => resolve(said));
      socket.on("error", reject);
    });
  return { raw, close: () => server.stop(true) };
}
