/**
 * Responses before the request body has arrived reach the client, and the connection stays usable.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Server } from "bun";
import type { Ctx } from "../../src/ctx.ts";
import { createPipeline } from "../../src/pipeline.ts";
import { world } from "../support/world.ts";

const PIECE_BYTES = 16_384;
const QUIET_MS = 300;
const NEXT = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";

let server: Server<unknown>;
let lifecycle: Ctx["lifecycle"];
beforeAll(async () => {
  const { ctx, app } = await world({ rateLimit: "off" });
  lifecycle = ctx.lifecycle;
  const { handle: fetch } = createPipeline(ctx, app);
  server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch, development: false });
});
afterAll(() => server.stop(true));

/** Sends `head`, then `pieces` one by one. Returns the response and the number of pieces left. */
async function exchange(head: string, pieces: string[] = []) {
  const said = { text: "", unsent: pieces.length, isClosed: false };
  const socket = connect(server.port ?? 0, "127.0.0.1");
  socket.on("data", (chunk) => {
    said.text += chunk.toString("latin1");
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    said.isClosed = true;
  });
  socket.write(head);
  for (const piece of pieces) {
    await sleep(2);
    if (said.isClosed) break;
    socket.write(piece);
    said.unsent -= 1;
  }
  let seen = -1;
  while (!said.isClosed && (seen !== said.text.length || seen === 0)) {
    seen = said.text.length;
    await sleep(QUIET_MS);
  }
  socket.destroy();
  return { ...said, statuses: [...said.text.matchAll(/HTTP\/1\.1 (\d+)/g)].map((it) => it[1]) };
}

const piecesOf = (bytes: number) =>
  Array.from({ length: Math.ceil(bytes / PIECE_BYTES) }, (_, at) =>
    "x".repeat(Math.min(PIECE_BYTES, bytes - at * PIECE_BYTES)),
  );
const chunked = (pieces: string[], trailer = "") => [
  ...pieces.map((piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`),
  `0\r\n${trailer}\r\n`,
];
const headOf = (line: string, ...fields: string[]) =>
  [`${line} HTTP/1.1`, "Host: localhost", ...fields, "", ""].join("\r\n");

const JSON_TYPE = "Content-Type: application/json";
const CLOSES = /^connection: close\r$/im;
const CHUNKED = "Transfer-Encoding: chunked";
/** Each is refused, and most of them before the body is read. */
const refused: [status: string, line: string, ...fields: string[]][] = [
  ["413", "POST /api/v1/auth/register", JSON_TYPE],
  ["413", "POST /api/v1/auth/register", JSON_TYPE, "Expect: 100-continue"],
  ["413", "POST /oauth/token", "Content-Type: application/x-www-form-urlencoded"],
  ["401", "PATCH /api/v1/users/me", JSON_TYPE],
  ["401", "DELETE /api/v1/users/me/sessions"],
  ["415", "POST /api/v1/auth/register", "Content-Type: text/plain"],
  ["404", "POST /nothing/here", JSON_TYPE],
  ["405", "PUT /livez", JSON_TYPE],
];

interface Sending {
  head: string;
  pieces: string[];
}

/** Sends all refusals at once, with bodies just above and far above the limit. */
async function outcomes(sendingOf: (line: string, fields: string[], bytes: number) => Sending) {
  const cases = [66_000, 1_000_000].flatMap((bytes) =>
    refused.map(([status, line, ...fields]) => ({ bytes, status, line, fields })),
  );
  return Promise.all(
    cases.map(async ({ bytes, status, line, fields }) => {
      const { head, pieces } = sendingOf(line, fields, bytes);
      const found = await exchange(head, pieces);
      const statuses = found.statuses.filter((one) => one !== "100");
      return { ...found, about: `${line} ${fields} ${bytes}`, expected: status, statuses };
    }),
  );
}

test("a refusal leaves the connection open for the next request", async () => {
  const all = await outcomes((line, fields, bytes) => ({
    head: headOf(line, ...fields, `Content-Length: ${bytes}`),
    pieces: [...piecesOf(bytes), NEXT],
  }));
  for (const { about, unsent, statuses, expected } of all)
    expect({ about, unsent, statuses }).toEqual({ about, unsent: 0, statuses: [expected, "200"] });
});

test("if the client asks to close, a refusal comes after the whole body", async () => {
  const all = await outcomes((line, fields, bytes) => ({
    head: headOf(line, ...fields, "Connection: close", `Content-Length: ${bytes}`),
    pieces: piecesOf(bytes),
  }));
  for (const { about, unsent, statuses, expected } of all)
    expect({ about, unsent, statuses }).toEqual({ about, unsent: 0, statuses: [expected] });
});

test("a refusal of a chunked request comes after the whole body, and closes the connection", async () => {
  const all = await outcomes((line, fields, bytes) => ({
    head: headOf(line, ...fields, CHUNKED),
    pieces: chunked(piecesOf(bytes)),
  }));
  for (const { about, unsent, statuses, expected, text, isClosed } of all) {
    expect({ about, unsent, statuses }).toEqual({ about, unsent: 0, statuses: [expected] });
    expect({ about, closes: CLOSES.test(text), isClosed }).toEqual({
      about,
      closes: true,
      isClosed: true,
    });
  }
});

test("a refusal reaches a client of HTTP/1.0 that is still sending", async () => {
  const head = headOf("POST /nothing/here", "Content-Length: 300000").replace("1.1", "1.0");
  const { statuses, unsent } = await exchange(head, piecesOf(300_000));
  expect({ statuses, unsent }).toEqual({ statuses: ["404"], unsent: 0 });
});

test("a refusal does not wait for a body that stops arriving", async () => {
  for (const framing of ["Content-Length: 300000", CHUNKED, "Content-Length: 3000000"]) {
    const sent = framing === CHUNKED ? chunked(piecesOf(1000)).slice(0, 1) : piecesOf(1000);
    const { statuses } = await exchange(headOf("POST /nothing/here", framing), sent);
    expect(statuses).toEqual(["404"]);
  }
});

test("during shutdown, a refusal is the last response, and comes after the body", async () => {
  lifecycle.isStopping = true;
  const head = headOf("POST /nothing/here", "Content-Length: 300000");
  const { statuses, unsent, text } = await exchange(head, piecesOf(300_000));
  lifecycle.isStopping = false;
  expect({ statuses, unsent }).toEqual({ statuses: ["404"], unsent: 0 });
  expect(text).toMatch(CLOSES);
});

test("the response to a chunked request closes the connection: Bun answers trailers with a second one", async () => {
  const body = ['{"username":"a","password":"b"}'];
  for (const [line, ...fields] of [
    ["POST /api/v1/auth/login", JSON_TYPE],
    ["POST /nothing/here"],
    ["GET /livez"],
    ["HEAD /livez"],
  ] as const)
    for (const trailer of ["", "X-Trailer: 1\r\n"]) {
      const head = headOf(line, ...fields, CHUNKED);
      const { text, isClosed } = await exchange(head, chunked(body, trailer));
      expect(`${text.split("\r\n\r\n")[0]}\r`).toMatch(CLOSES);
      expect(isClosed).toBe(true);
    }
});

test("two equal Content-Length lines do not pass the limit", async () => {
  const body = JSON.stringify({ email: "x".repeat(300_000), password: "x" });
  const length = `Content-Length: ${body.length}`;
  const head = headOf("POST /api/v1/auth/register", JSON_TYPE, length, length);
  const { statuses } = await exchange(head, [body, NEXT]);
  expect(statuses).toEqual(["400", "200"]);
});

/** docs/http.md says so to operators; another version of Bun may do otherwise. */
test("Bun itself refuses these without a body, and closes", async () => {
  const host = "Host: localhost";
  const head = (...lines: string[]) => [...lines, "", ""].join("\r\n");
  const refusedByBun = [
    ["", head("FOO /livez HTTP/1.1", host)],
    ["", head("get /livez HTTP/1.1", host)],
    ["400", head("GET /livez HTTP/1.1")],
    ["400", head("OPTIONS * HTTP/1.1", host)],
    ["400", head("GET /livez HTTP/1.1", host, "X-A: a\0b")],
    ["400", head("GET /livez HTTP/1.1", host, "X-A: 1", " folded")],
    ["400", head("POST /livez HTTP/1.1", host, CHUNKED, "Content-Length: 3")],
    ["400", head("POST /livez HTTP/1.1", host, "Content-Length: 3", "Content-Length: 4")],
    ["400", head("POST /livez HTTP/1.1", host, "Transfer-Encoding: gzip")],
    ["400", `${head("POST /api/v1/auth/login HTTP/1.1", host, JSON_TYPE, CHUNKED)}zz\r\n`],
    ["431", head("GET /livez HTTP/1.1", host, `X-A: ${"a".repeat(17_000)}`)],
    ["505", head("GET /livez HTTP/2.0", host)],
  ] as const;
  for (const [status, text] of refusedByBun) {
    const { statuses, isClosed } = await exchange(text);
    expect({ text, statuses, isClosed }).toEqual({
      text,
      statuses: status === "" ? [] : [status],
      isClosed: true,
    });
  }
});

test("Bun drops the host of an absolute target, so it may differ from Host", async () => {
  const head = "GET http://other.example/livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
  expect((await exchange(head)).statuses).toEqual(["200"]);
});

test("methods that Bun knows but no route has get 404 or 405", async () => {
  for (const method of ["TRACE", "CONNECT", "PROPFIND", "QUERY", "PURGE"])
    for (const [status, path] of [
      ["405", "/livez"],
      ["404", "/nothing"],
    ])
      expect((await exchange(headOf(`${method} ${path}`))).statuses).toEqual([status]);
});

const registerOf = (email: string, ...fields: string[]) => {
  const body = JSON.stringify({ email, password: "correct horse battery staple" });
  const length = `Content-Length: ${body.length}`;
  return { head: headOf("POST /api/v1/auth/register", JSON_TYPE, length, ...fields), body };
};

test("a request is not carried out if Bun drops its response because bytes follow in the same packet", async () => {
  for (const [at, follows, answered] of [
    [0, NEXT, []],
    [1, "\r\n", ["400"]],
    [2, `\r\n${NEXT}`, ["400"]],
  ] as const) {
    const { head, body } = registerOf(`follows${at}@example.com`);
    expect((await exchange(head + body + follows)).statuses).toEqual([...answered]);
    // The body in a separate packet.
    expect((await exchange(head, [body + follows])).statuses).toEqual([...answered]);
    expect((await exchange(head + body)).statuses).toEqual(["201"]);
  }
});

test("the same for a request without a body", async () => {
  const { head, body } = registerOf("without-body@example.com");
  await exchange(head + body);
  const signIn = body.replace("email", "username");
  const length = `Content-Length: ${signIn.length}`;
  const { text } = await exchange(headOf("POST /api/v1/auth/login", JSON_TYPE, length) + signIn);
  const token = /"access_token":"([^"]+)"/.exec(text)?.[1];
  const bearer = `Authorization: Bearer ${token}`;
  const logout = headOf("POST /api/v1/auth/logout", bearer);
  expect((await exchange(logout + NEXT)).statuses).toEqual([]);
  expect((await exchange(headOf("GET /api/v1/users/me", bearer))).statuses).toEqual(["200"]);
  expect((await exchange(logout)).statuses).toEqual(["204"]);
});
