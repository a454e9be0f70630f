import { expect, setDefaultTimeout, test } from "bun:test";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { client, linesOf, type Serving, serve, usedFolder } from "../support/program.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(60_000);
const PASSWORD = "sentinel battery staple";
const TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736";

const answersIn = ({ said }: Serving) =>
  linesOf(said.err).filter(({ msg }) => msg === "Request completed.");

test("each response has a line with route, status, duration and user", async () => {
  const server = await serve({ cwd: await usedFolder() });
  const api = client(server.url);
  await api.register("ada@example.com", PASSWORD);
  const token = await api.logIn("ada@example.com", PASSWORD);
  const me = await fetch(`${server.url}/api/v1/users/me`, {
    headers: {
      authorization: `Bearer ${token}`,
      traceparent: `00-${TRACE_ID}-00f067aa0ba902b7-01`,
    },
  });
  const { id } = (await me.json()) as { id: string };
  await api.get(`/users/${id}`, token);
  await fetch(`${server.url}/api/v1/no-such-thing`);
  await fetch(`${server.url}/livez`);
  expect(await server.end("SIGTERM")).toBe(0);
  const lines = answersIn(server);
  expect(lines.map(({ method, route, status, code }) => [method, route, status, code])).toEqual([
    ["POST", "/api/v1/auth/register", 201, undefined],
    ["POST", "/api/v1/auth/login", 200, undefined],
    ["GET", "/api/v1/users/me", 200, undefined],
    ["GET", "/api/v1/users/:id", 403, "forbidden"],
    ["GET", undefined, 404, "not_found"],
  ]);
  expect(lines[2]).toMatchObject({
    level: "info",
    duration_ms: expect.any(Number),
    request_id: me.headers.get("x-request-id"),
    trace_id: TRACE_ID,
    user_id: id,
  });
  expect(lines[3]).toMatchObject({ user_id: id });
});

test("an interrupted body has a line with its route", async () => {
  const server = await serve({ cwd: await usedFolder() });
  const socket = connect(Number(new URL(server.url).port), "127.0.0.1", () =>
    socket.write(
      "POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
      () => setTimeout(() => socket.destroy(), 100),
    ),
  );
  while (answersIn(server).length === 0) await sleep(20);
  expect(answersIn(server)).toMatchObject([
    { route: "/api/v1/auth/login", status: 400, code: "malformed_request" },
  ]);
  await server.end("SIGTERM");
});

test("LOG_ACCESS=off writes none of these lines, LOG_FORMAT=pretty writes readable ones", async () => {
  const env = { LOG_ACCESS: "off", LOG_FORMAT: "pretty", RATE_LIMIT: "off" };
  const server = await serve({ cwd: await usedFolder(), env });
  await fetch(`${server.url}/docs`);
  await until(() => /WARN.*RATE_LIMIT=off/.test(server.said.err));
  await server.end("SIGTERM");
  expect(server.said.err).not.toContain("Request completed");
});

test("the start says which private receivers webhooks may reach", async () => {
  const env = { WEBHOOKS_ALLOW: "Product.internal.:8080,[fd00:0::7]:443", LOG_FORMAT: "pretty" };
  const cwd = await usedFolder();
  const server = await serve({ cwd, env: { ...env, WEBHOOKS_ALLOW_PRIVATE: "true" } });
  await until(() => /WARN.*WEBHOOKS_ALLOW_PRIVATE=true/.test(server.said.err));
  await server.end("SIGTERM");
  const { out, err } = server.said;
  expect(out + err).toContain("Webhooks   also to product.internal:8080, [fd00::7]:443\n");
});

const JSON_TYPE = { "content-type": "application/json" };
const headersWith = (word: string) => ({
  authorization: `Bearer ${word}`,
  cookie: `bunker_device=${word}`,
  "device-token": word,
  "idempotency-key": word,
  "if-match": `"${word}"`,
  "if-none-match": `"${word}"`,
  referer: `http://localhost/${word}`,
  traceparent: word,
  tracestate: word,
  "user-agent": word,
  "x-forwarded-for": word,
  "x-request-id": word,
});

interface Operation {
  method: string;
  path: string;
  fields: string[];
}

/** Every operation of the OpenAPI document, with the names of its bodies and parameters. */
async function operationsOf(url: string): Promise<Operation[]> {
  const document = (await (await fetch(`${url}/openapi.json`)).json()) as {
    paths: Record<string, Record<string, unknown>>;
  };
  const names = [...JSON.stringify(document).matchAll(/"([a-z_]{2,30})":\{/g)].map(
    ([, name = ""]) => name,
  );
  const fields = [...new Set(names)];
  return Object.entries(document.paths).flatMap(([path, item]) =>
    Object.keys(item).map((method) => ({ method: method.toUpperCase(), path, fields })),
  );
}

test("nothing that a client sends is logged, in whatever part of a request", async () => {
  const env = {
    BUNKER_ENV: "development",
    LOG_LEVEL: "debug",
    EMAIL_SIGN_IN: "on",
    SIGN_IN_REDIRECT_URL: "https://app.example.com/in",
    OAUTH_PASSWORD_GRANT: "on",
    RATE_LIMIT: "off",
  };
  const server = await serve({ cwd: await usedFolder(), env });
  const api = client(server.url);
  await api.register("sentinel@example.com", PASSWORD);
  const token = await api.logIn("sentinel@example.com", PASSWORD);
  const operations = await operationsOf(server.url);
  expect(operations.length).toBeGreaterThan(30);
  let asked = 0;
  for (const { method, path, fields } of operations) {
    const url = `${server.url}${path.replaceAll(/\{[^}]+\}/g, "sentinel")}?sentinel=sentinel&q=sentinel&token=sentinel`;
    const body = JSON.stringify(Object.fromEntries(fields.map((field) => [field, "sentinel"])));
    const bodies = method === "GET" ? [undefined] : [undefined, body, `{"sentinel`, "sentinel=%FF"];
    for (const one of bodies)
      for (const authorization of [
        `Bearer ${token}`,
        "Bearer sentinel",
        "Basic c2VudGluZWw6c2VudGluZWw=",
      ]) {
        const headers = { ...headersWith("sentinel"), ...JSON_TYPE, authorization };
        await fetch(url, { method, headers, ...(one === undefined ? {} : { body: one }) });
        asked += 1;
      }
  }
  for (const input of [
    { username: "sentinel", password: "sentinel" },
    { username: "sentinel@example.com", password: "wrong sentinel" },
  ])
    await fetch(`${server.url}/api/v1/auth/login`, {
      method: "POST",
      headers: JSON_TYPE,
      body: JSON.stringify(input),
    });
  await server.end("SIGTERM");
  expect(answersIn(server).length).toBeGreaterThan(asked / 2);
  expect(server.said.err).not.toMatch(/sentinel|c2VudGluZWw/i);
  expect(server.said.err).not.toContain(token.slice(-20));
});

const HOSTILE_HEADERS = ["traceparent", "x-request-id", "x-forwarded-for"];
const HOSTILE = [
  "x".repeat(10_000),
  "10.0.0.1, ".repeat(1000),
  '{"level":"error"}',
  "00-\xff-\t",
  "a\x7fb",
];
/** The parser refuses these as headers (RFC 9110, section 5.5). */
const NO_HEADERS = ["a\x00b", "a\x01b", "a\x1b[31mb", "a\rb", "a\nb"];

test("a hostile header changes no response and breaks no line", async () => {
  const env = { TRUSTED_PROXIES: "127.0.0.1", RATE_LIMIT: "off" };
  const server = await serve({ cwd: await usedFolder(), env });
  const ask = (header: string) => rawSignIn(server, header);
  for (const name of HOSTILE_HEADERS) {
    for (const text of HOSTILE) {
      const answer = await ask(`${name}: ${text}`);
      expect(answer).toStartWith("HTTP/1.1 401 ");
      expect(answer).toContain('"code":"invalid_credentials"');
      expect(answer).toMatch(/^x-request-id: [0-9a-f-]{36}\r$/im);
    }
    for (const text of NO_HEADERS)
      expect(await ask(`${name}: ${text}`)).toStartWith("HTTP/1.1 400 ");
    expect(await ask(`${name}: ${"x".repeat(100_000)}`)).toStartWith("HTTP/1.1 431 ");
  }
  await server.end("SIGTERM");
  const lines = answersIn(server);
  const expected = Array(HOSTILE.length * HOSTILE_HEADERS.length).fill([
    "invalid_credentials",
    undefined,
  ]);
  expect(lines.map(({ code, trace_id }) => [code, trace_id])).toEqual(expected);
});

/** Signs in with a wrong password over a raw socket, because no client sends such headers. */
function rawSignIn({ url }: Serving, header: string): Promise<string> {
  const body = JSON.stringify({ username: "nobody@example.com", password: PASSWORD });
  const head = `POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${header}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`;
  return new Promise((done) => {
    let said = "";
    const socket = connect(Number(new URL(url).port), "127.0.0.1", () =>
      socket.write(Buffer.from(head + body, "latin1")),
    );
    socket.on("data", (chunk) => {
      said += chunk;
    });
    socket.on("error", () => {}).on("close", () => done(said));
  });
}
