import { afterAll, beforeAll, expect, test } from "bun:test";
import { connect } from "node:net";
import type { Server } from "bun";
import { world } from "../support/world.ts";

let server: Server<unknown>;
beforeAll(async () => {
  const { app } = await world();
  server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: app.fetch, development: false });
});
afterAll(() => server.stop(true));

/** What a server says to these very bytes. */
const raw = (bytes: string): Promise<string> =>
  new Promise((resolve, reject) => {
    let said = "";
    const socket = connect(server.port ?? 0, "127.0.0.1", () => socket.write(bytes));
    socket.on("data", (chunk) => {
      said += chunk.toString("latin1");
    });
    socket.on("end", () => resolve(said));
    socket.on("error", reject);
    setTimeout(() => socket.end(), 300);
  });

test("a short or odd Host header reaches no route that the path does not name", async () => {
  for (const host of ["a", "", "/", "x/livez", "localhost/livez?", "a\tb"])
    for (const path of ["/pub/livez", "/a/api/v1/users/me", "//livez"]) {
      const said = await raw(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
      expect(said).not.toContain("200 OK");
    }
  const said = await raw("GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  expect(said).toContain("200 OK");
});

test("no answer repeats the Host header", async () => {
  const said = await raw(
    "GET /docs HTTP/1.1\r\nHost: sentinel.example\r\nConnection: close\r\n\r\n",
  );
  expect(said).not.toContain("sentinel");
});
