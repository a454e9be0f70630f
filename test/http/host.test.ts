import { afterAll, beforeAll, expect, test } from "bun:test";
import { connect } from "node:net";
import type { Server } from "bun";
import { withHost } from "../../src/http/host.ts";
import { world } from "../support/world.ts";

let server: Server<unknown>;
beforeAll(async () => {
  const { app } = await world();
  const fetch = withHost(app.fetch);
  server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch, development: false });
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
    for (const path of ["/pub/livez", "/public/livez", "/a/api/v1/users/me", "//livez"]) {
      const said = await raw(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
      expect(said).not.toContain("200 OK");
    }
  const said = await raw("GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  expect(said).toContain("200 OK");
});

test("a request of HTTP/1.0 without a Host finds what its path names, and nothing else", async () => {
  for (const path of ["/livez", "/readyz/server", "/.well-known/jwks.json"])
    expect(await raw(`GET ${path} HTTP/1.0\r\n\r\n`)).toContain("200 OK");
  for (const path of ["/public/livez", "/a/readyz/server", "/publicly/livez?/livez"])
    expect(await raw(`GET ${path} HTTP/1.0\r\n\r\n`)).toContain("404 Not Found");
  const body = JSON.stringify({ email: "ada@example.com", password: "correct horse battery" });
  const head = `POST /api/v1/auth/register HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`;
  expect(await raw(head + body)).toContain("201 Created");
});

test("no answer repeats the Host header", async () => {
  const said = await raw(
    "GET /docs HTTP/1.1\r\nHost: sentinel.example\r\nConnection: close\r\n\r\n",
  );
  expect(said).not.toContain("sentinel");
});
