import { afterAll, beforeAll, expect, test } from "bun:test";
import { connect } from "node:net";
import type { Server } from "bun";
import { withHost } from "../../src/http/host.ts";
import { metricsHandler } from "../../src/http/metrics.ts";
import { created } from "../../src/http/resource.ts";
import { world } from "../support/world.ts";

const ANSWER_MAX_MS = 5_000;

let here: Awaited<ReturnType<typeof world>>;
let server: Server<unknown>;
beforeAll(async () => {
  here = await world();
  const fetch = withHost(here.app.fetch, () => server);
  server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch, development: false });
  here.app.server = server;
});
afterAll(() => server.stop(true));

/** The server's response to exactly these bytes. */
const raw = (bytes: string, port = server.port): Promise<string> =>
  new Promise((resolve, reject) => {
    let said = "";
    const socket = connect(port ?? 0, "127.0.0.1", () => socket.write(bytes, "latin1"));
    socket.on("data", (chunk) => {
      said += chunk.toString("latin1");
    });
    socket.on("end", () => resolve(said));
    socket.on("error", reject);
    setTimeout(() => socket.end(), ANSWER_MAX_MS);
  });

test("a short or odd Host header does not lead to another route", async () => {
  for (const host of ["a", "", "/", "x/livez", "localhost/livez?", "a\tb"])
    for (const path of ["/pub/livez", "/public/livez", "/a/api/v1/users/me", "//livez"]) {
      const said = await raw(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
      expect(said).not.toContain("200 OK");
    }
  const said = await raw("GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  expect(said).toContain("200 OK");
});

test("an HTTP/1.0 request without a Host leads to the route of its path only", async () => {
  for (const path of ["/livez", "/readyz/server", "/.well-known/jwks.json"])
    expect(await raw(`GET ${path} HTTP/1.0\r\n\r\n`)).toContain("200 OK");
  for (const path of ["/public/livez", "/a/readyz/server", "/publicly/livez?/livez"])
    expect(await raw(`GET ${path} HTTP/1.0\r\n\r\n`)).toContain("404 Not Found");
  const body = JSON.stringify({ email: "ada@example.com", password: "correct horse battery" });
  const head = `POST /api/v1/auth/register HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`;
  expect(await raw(head + body)).toContain("201 Created");
  const events = await here.sql`select distinct address from events`;
  expect(events.map(({ address }) => address)).toEqual(["127.0.0.1"]);
});

const invalidHosts = [
  ["Host: localhost", "Host: other.example"],
  ["Host: localhost", "Host: localhost"],
  ["host: localhost", "HOST:"],
  ["Host:", "Host: localhost"],
  ...["", "a b", "a\tb", "user@localhost", "localhost/path", "localhost?a", "localhost#a"].map(
    hostLine,
  ),
  ...["a, b", "a:b", "a:1:2", "a:123456", ":80", "<a>", '"a"', "a\\b", "a%4", "\xe9", "a\x7f"].map(
    hostLine,
  ),
  ...["[::1", "::1", "[]", "[::1]a", "[fe80::1%25eth0]", "http://localhost"].map(hostLine),
];
function hostLine(host: string): string[] {
  return [`Host: ${host}`];
}

test("an empty, repeated or malformed Host is refused (RFC 9112, section 3.2)", async () => {
  for (const lines of invalidHosts)
    for (const version of ["1.0", "1.1"])
      for (const target of [
        "GET /livez",
        "GET http://localhost/livez",
        "POST /api/v1/auth/login",
      ]) {
        const head = [`${target} HTTP/${version}`, ...lines, "Connection: close", "", ""];
        const said = await raw(head.join("\r\n"));
        expect({ lines, said }).toEqual({ lines, said: expect.stringMatching(/^HTTP\/1\.1 400 /) });
      }
  const said = await raw("GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n");
  expect(said).toContain('"code":"malformed_request"');
  expect(said).toMatch(/^x-request-id: /im);
});

test("a Host is a name or an IP, either with or without a port", async () => {
  for (const host of [
    "localhost",
    "LOCALHOST:3000",
    "accounts.example.com",
    "a_b.internal:80",
    "xn--bcher-kva.example",
    "127.0.0.1:3000",
    "[::1]",
    "[2001:db8::1]:3000",
    "localhost:",
    "localhost.",
  ])
    expect(
      await raw(`GET /livez HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`),
    ).toContain("200 OK");
});

test("a Host that only `URL` refuses fails no request", async () => {
  const { token, id } = await here.superuser();
  await here.newUser();
  for (const host of ["localhost:99999", "1.2.3.4.5", "[::::]", "a%2fb"]) {
    const head = `HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${token}\r\nConnection: close\r\n\r\n`;
    const said = await raw(`GET /api/v1/users?limit=1 ${head}`);
    expect(said).toContain("200 OK");
    expect(said).toMatch(/^link: <\/api\/v1\/users\?limit=1&cursor=[\w-]+>; rel="next"\r$/im);
    expect(await raw(`GET /dev/mailbox.json?to=a ${head}`)).not.toContain("Internal Server Error");
    const set: Parameters<typeof created>[0]["set"] = { headers: {} };
    const request = { url: `http://${host}/api/v1/notes/?a=b` } as Request;
    created({ request, set }, { id, updatedAt: new Date() }, () => ({}));
    expect(set.headers["location"]).toBe(`/api/v1/notes/${id}`);
  }
});

test("the listener of METRICS_PORT refuses an invalid Host as well", async () => {
  const { ctx } = await world();
  for (const host of ["a, b", "", "a/b"])
    expect((await metricsHandler(ctx)(at(host))).status).toBe(400);
  expect((await metricsHandler(ctx)(at("localhost:9464"))).status).toBe(404);
  function at(host: string) {
    return new Request("http://localhost/nothing", { headers: { host } });
  }
});

/**
 * Fields that may occur only once: Bun joins repeated lines by a comma, and the result is refused.
 */
test("a repeated field is never read as a single one", async () => {
  const { app, newUser } = await world();
  const { token } = await newUser();
  const twice = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: app.fetch, development: false });
  const body = JSON.stringify({ username: "ada@example.com", password: "correct horse battery" });
  const json = "Content-Type: application/json";
  const bearer = `Authorization: Bearer ${token}`;
  const cases = [
    ["401", "GET /api/v1/users/me", bearer, bearer],
    ["401", "GET /api/v1/users/me", bearer, bearer.replace("Bearer", "bearer")],
    ["401", "GET /api/v1/users/me", "Authorization:", bearer],
    ["415", "POST /api/v1/auth/login", json, "Content-Type: text/plain"],
    ["415", "POST /api/v1/auth/login", `${json};charset=utf-8`, "Content-Type: text/plain"],
    ["415", "POST /api/v1/auth/login", json, json],
    ["422", "POST /api/v1/auth/register", json, "Idempotency-Key: a", "Idempotency-Key: b"],
    ["400", "POST /api/v1/auth/login", json, `Content-Length: ${body.length}`],
    ["400", "POST /api/v1/auth/login", json, "Content-Length: 1"],
    ["400", "POST /api/v1/auth/login", json, "Transfer-Encoding: chunked"],
  ];
  for (const [status = "", line = "", ...fields] of cases) {
    const length = `Content-Length: ${line.startsWith("POST") ? body.length : 0}`;
    const head = [`${line} HTTP/1.1`, "Host: a", ...fields, length, "Connection: close", "", ""];
    const said = await raw(head.join("\r\n") + (line.startsWith("POST") ? body : ""), twice.port);
    expect({ line, fields, status: said.slice(0, 12) }).toEqual({
      line,
      fields,
      status: `HTTP/1.1 ${status}`,
    });
  }
  await twice.stop(true);
});

test("no response repeats the Host header", async () => {
  const said = await raw(
    "GET /docs HTTP/1.1\r\nHost: sentinel.example\r\nConnection: close\r\n\r\n",
  );
  expect(said).not.toContain("sentinel");
});
