/** The traces that a collector receives. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { setTimeout as sleep } from "node:timers/promises";
import { attributesOf, type Collector, collector, type Received } from "../support/collector.ts";
import { type Serving, serve, usedFolder } from "../support/program.ts";
import { type MailServer, mailServer, SECRET_WORD, USER } from "../support/smtp.ts";

setDefaultTimeout(60_000);
const PASSWORD = "correct horse battery staple";
const EMAIL = "sentinel-ada@example.com";
const CALLER = "00f067aa0ba902b7";

let post: MailServer;
beforeAll(async () => {
  post = await mailServer();
});
afterAll(() => post.close());

const withTracing = async (traces: Collector, env: Record<string, string> = {}) =>
  serve({
    cwd: await usedFolder(),
    env: {
      OTLP_URL: traces.url,
      TRACE_SAMPLE: "0",
      PUBLIC_URL: "https://accounts.example.com",
      MAIL_URL: `smtp://${USER}:${encodeURIComponent(SECRET_WORD)}@localhost:${post.port}`,
      MAIL_CA_FILE: post.caFile,
      ...env,
    },
  });

/** Sends a request in the trace with that id. */
const ask = (server: Serving, path: string, { traceId, flags = "01", body }: Asking) =>
  fetch(`${server.url}/api/v1${path}`, {
    headers: {
      "content-type": "application/json",
      traceparent: `00-${traceId}-${CALLER}-${flags}`,
    },
    ...(body ? { method: "POST", body: JSON.stringify(body) } : {}),
  });
interface Asking {
  traceId: string;
  flags?: string;
  body?: object;
}

const traceIds = { register: "1".repeat(32), logIn: "2".repeat(32), forgot: "3".repeat(32) };

/** The name of each span, with the name of its parent. */
const treeOf = (spans: Received[]) =>
  spans.map(({ name, parentSpanId }) => [
    spans.find(({ spanId }) => spanId === parentSpanId)?.name ?? parentSpanId,
    name,
  ]);

async function until(isSo: () => boolean): Promise<void> {
  const giveUpAt = performance.now() + 20_000;
  while (!isSo() && performance.now() < giveUpAt) await sleep(50);
}

test("a trace leads from the client to the database, the hash and the mail that is sent later", async () => {
  const traces = await collector();
  const server = await withTracing(traces, { OTLP_HEADERS: "authorization=Basic%20YTpi" });
  const { register, logIn, forgot } = traceIds;
  const newUser = { email: EMAIL, password: PASSWORD };
  await ask(server, "/auth/register", { traceId: register, body: newUser });
  await ask(server, "/auth/login", {
    traceId: logIn,
    body: { username: EMAIL, password: "a wrong sentinel" },
  });
  await ask(server, "/auth/password/forgot", { traceId: forgot, body: { email: EMAIL } });
  const delivered = () => traces.spans.filter(({ name }) => name === "deliver mail").length;
  await until(() => delivered() === 2);
  expect(await server.end("SIGTERM")).toBe(0);

  const tree = treeOf(traces.of(register));
  const request = "POST /api/v1/auth/register";
  expect(tree).toContainEqual([CALLER, request]);
  expect(tree).toContainEqual([request, "hash password"]);
  expect(tree).toContainEqual([request, "transaction"]);
  expect(tree).toContainEqual(["transaction", "INSERT users"]);
  expect(tree).toContainEqual(["transaction", "deliver mail"]);
  const asked = treeOf(traces.of(forgot));
  expect(asked).toContainEqual(["transaction", "INSERT mail_requests"]);
  expect(asked).toContainEqual(["POST /api/v1/auth/password/forgot", "answer link request"]);
  expect(asked).toContainEqual(["answer link request", "INSERT mails"]);
  expect(asked).toContainEqual(["answer link request", "deliver mail"]);

  const refused = traces.of(logIn).find(({ name }) => name === "POST /api/v1/auth/login");
  expect(refused && attributesOf(refused)).toMatchObject({
    "http.request.method": "POST",
    "http.route": "/api/v1/auth/login",
    "http.response.status_code": 401,
    "bunker.problem": "invalid_credentials",
  });
  expect(refused?.kind).toBe(2);
  for (const { traceId, spanId, startTimeUnixNano, endTimeUnixNano } of traces.spans) {
    expect([traceId.length, spanId.length]).toEqual([32, 16]);
    expect(BigInt(endTimeUnixNano)).toBeGreaterThanOrEqual(BigInt(startTimeUnixNano));
  }
  expect(traces.headers[0]?.get("authorization")).toBe("Basic YTpi");
  // No personal data, and no SQL.
  expect(traces.texts.join("")).not.toMatch(/sentinel|correct horse|\$1|select "|insert into/i);
});

test("only sampled requests are traced, whatever a client sends", async () => {
  const traces = await collector();
  const server = await withTracing(traces, { MAIL_URL: "" });
  await ask(server, "/users/me", { traceId: "4".repeat(32), flags: "00" });
  const hostile = [
    "x".repeat(10_000),
    "ff-",
    `00-${"0".repeat(32)}-${CALLER}-01`,
    `00-${"5".repeat(32)}-${CALLER}-01-x`,
  ];
  for (const traceparent of hostile)
    await fetch(`${server.url}/api/v1/users/me`, { headers: { traceparent } });
  await ask(server, "/users/me", { traceId: "6".repeat(32) });
  await server.end("SIGTERM");
  const start = traces.spans.find(({ name }) => name === "start")?.traceId;
  const followed = traces.spans.map(({ traceId }) => traceId).filter((id) => id !== start);
  expect(followed).toEqual(["6".repeat(32)]);
});

test("with TRACE_SAMPLE=1 each request starts a trace, and its log line has the id", async () => {
  const traces = await collector();
  const server = await withTracing(traces, { TRACE_SAMPLE: "1", MAIL_URL: "" });
  await fetch(`${server.url}/api/v1/users/me`);
  await server.end("SIGTERM");
  const { traceId } = traces.spans.find(({ name }) => name === "GET /api/v1/users/me") ?? {};
  expect(server.said.err).toContain(`"trace_id":"${traceId}"`);
  expect(traces.spans.map(({ name }) => name)).toContain("job maintain keys");
});
