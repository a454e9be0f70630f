/**
 * Unusual framing: how Bun answers it (docs/bun.md), and that clients behind a proxy see none of
 * it.
 */
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort, serve, usedFolder } from "../support/program.ts";
import { pathOf, proxies, startProxy } from "../support/proxies.ts";

setDefaultTimeout(60_000);
const PASSWORD = "correct horse battery staple";
const QUIET_MS = 1_500;

interface Exchange {
  first: string;
  /** Sent only after 100 (Continue). */
  rest?: string;
  isHalfClosed?: boolean;
}

/** The statuses received until the connection is closed, or silent for some time. */
async function statusesOf(port: number, { first, rest = "", isHalfClosed = false }: Exchange) {
  const found = { text: "", isOver: false };
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true }, () => {
    if (isHalfClosed) socket.end(first);
    else socket.write(first);
  });
  socket.on("data", (chunk) => {
    if (found.text === "" && rest !== "") socket.write(rest);
    found.text += chunk.toString("latin1");
  });
  const end = () => {
    found.isOver = true;
  };
  socket.on("end", end).on("close", end).on("error", end);
  let seen = -1;
  while (!found.isOver && seen !== found.text.length) {
    seen = found.text.length;
    await sleep(QUIET_MS);
  }
  socket.destroy();
  return [...found.text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status);
}

interface Mailer {
  path: string;
  body: string;
}
const headOf = ({ path, body }: Mailer, ...fields: string[]) =>
  [
    `POST ${path} HTTP/1.1`,
    "Host: 127.0.0.1",
    "Content-Type: application/json",
    `Content-Length: ${body.length}`,
    ...fields,
    "",
    "",
  ].join("\r\n");
const NEXT = "GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";

const exchanges = {
  pipelined: (post: Mailer): Exchange => ({ first: headOf(post) + post.body + NEXT }),
  "empty line": (post: Mailer): Exchange => ({ first: `${headOf(post) + post.body}\r\n` }),
  "Expect: 100-Continue": (post: Mailer): Exchange => ({
    first: headOf(post, "Expect: 100-Continue"),
    rest: post.body,
  }),
  "half-closed": (post: Mailer): Exchange => ({
    first: headOf(post) + post.body,
    isHalfClosed: true,
  }),
};
type Kind = keyof typeof exchanges;

async function all(port: number, mailerOf: (at: number) => Mailer) {
  const found = Object.entries(exchanges).map(async ([kind, exchange], at) => [
    kind,
    await statusesOf(port, exchange(mailerOf(at))),
  ]);
  return Object.fromEntries(await Promise.all(found)) as Record<string, unknown>;
}

/** The program of docs/bun.md. */
const minimal = Bun.serve({
  port: 0,
  async fetch(request) {
    await request.text();
    await Bun.sleep(20);
    return new Response("done");
  },
});
afterAll(() => minimal.stop(true));

/**
 * If a new version of Bun behaves better, check docs/bun.md, docs/http.md and
 * http/closed-connection.
 */
test("Bun without a proxy behaves as docs/bun.md says", async () => {
  const byBun: Record<Kind, string[]> = {
    pipelined: [],
    "empty line": ["400"],
    "Expect: 100-Continue": [],
    "half-closed": [],
  };
  expect(await all(minimal.port ?? 0, () => ({ path: "/", body: "{}" }))).toEqual(byBun);
});

const sound: Record<Kind, string[]> = {
  pipelined: ["201", "200"],
  "empty line": ["201"],
  "Expect: 100-Continue": ["100", "201"],
  "half-closed": ["201"],
};

for (const name of Object.keys(proxies))
  test.if(pathOf(name) !== undefined)(`behind ${name}, each request gets a response`, async () => {
    const inside = await freePort();
    const env = { PORT: String(inside), TRUSTED_PROXIES: "127.0.0.1" };
    const server = await serve({ cwd: await usedFolder(), env });
    const outside = await startProxy(name, [inside]);
    const registrationOf = (at: number) => ({
      path: "/api/v1/auth/register",
      body: JSON.stringify({ email: `user${at}@example.com`, password: PASSWORD }),
    });
    const found = await all(outside, registrationOf);
    // Caddy, like Go, takes a client that closes its sending side for disconnected.
    if (name === "caddy") found["half-closed"] = sound["half-closed"];
    expect(found).toEqual(sound);
    expect(await server.end("SIGTERM")).toBe(0);
  });
