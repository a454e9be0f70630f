import { describe, expect, test } from "bun:test";
import type { Config } from "../../src/config/config.ts";
import { answerLinkRequests } from "../../src/modules/emails/requests.ts";
import { readMails } from "../../src/modules/mail/mail.ts";
import { type Answer, PASSWORD, world } from "../support/world.ts";

const UUID = "019aac30-5c1b-7d4e-9d3f-6a2b8c4e1f70";

/** Sends a request with headers, as a user. */
async function headersWorld(settings: Partial<Config> = {}) {
  const here = await world(settings);
  const [ada, root] = [await here.newUser(), await here.superuser()];
  const ask = (
    request: string,
    headers: Record<string, string>,
    { token, body }: { token?: string; body?: object } = {},
  ): Promise<Answer> => {
    const [method = "", path = ""] = request.split(" ");
    return here.send(method, path, {
      headers: {
        ...headers,
        ...(token ? { authorization: `Bearer ${token}` } : {}),
        ...(body ? { "content-type": "application/json" } : {}),
      },
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
  };
  const { paths } = (await here.send("GET", "/openapi.json")).body;
  const own = new Set(here.bunkerRoutes.map(({ path }) => path.replaceAll(/:(\w+)/g, "{$1}")));
  const ownPaths = Object.entries<Answer["body"]>(paths).filter(([path]) => own.has(path));
  const operations = ownPaths.flatMap(([path, methods]) =>
    Object.entries<Answer["body"]>(methods)
      .filter(([method]) => method !== "get")
      .map(([method, { parameters = [] }]) => ({
        method: method.toUpperCase(),
        path,
        reads: parameters.map(({ $ref = "" }) => $ref.split("/").at(-1)) as string[],
      })),
  );
  return { ...here, ada, root, ask, operations };
}

const refusal = (name: string) => ({
  code: "unsupported_header",
  errors: [
    { pointer: `/header/${name}`, code: "not_allowed", detail: "is not supported by this route" },
  ],
});

const saidIn = ({ body: { code, error, errors } }: Answer) =>
  error === undefined ? { code, errors } : { error };

const givenTo = (path: string, token: string) => {
  const body = bodies[path.replace("/api/v1", "")];
  return { ...(anonymous.test(path) ? {} : { token }), ...(body ? { body } : {}) };
};
const anonymous = /^\/oauth|auth\/(?!logout)/;
const kept = [
  "POST /api/v1/auth/register Idempotency-Key",
  "POST /api/v1/auth/email/verify Idempotency-Key",
  "POST /api/v1/auth/email/verify/resend Idempotency-Key",
  "POST /api/v1/auth/password/forgot Idempotency-Key",
  "POST /api/v1/auth/password/reset Idempotency-Key",
  "POST /api/v1/auth/email-code Idempotency-Key",
  "PUT /api/v1/users/me If-Match",
  "PATCH /api/v1/users/me If-Match",
  "DELETE /api/v1/users/me If-Match",
  "POST /api/v1/users/me/email Idempotency-Key",
  "PATCH /api/v1/users/{id} If-Match",
  "DELETE /api/v1/users/{id} If-Match",
  "POST /api/v1/users/{id}/unlock Idempotency-Key",
  "PATCH /api/v1/webhooks/{id} If-Match",
  "DELETE /api/v1/webhooks/{id} If-Match",
];

describe("a header that makes a promise is honored or refused on every route", () => {
  test("each operation that changes something reads Idempotency-Key and If-Match, or refuses them", async () => {
    const { ada, root, ask, operations } = await headersWorld({ rateLimit: "off" });
    const promises = ["Idempotency-Key", "If-Match", "If-None-Match"];
    const cases = operations.flatMap((operation) =>
      promises.map((name) => ({ ...operation, name })),
    );
    const isRead = ({ reads, name }: (typeof cases)[number]) => reads.includes(name);
    expect(
      cases.filter(isRead).map(({ method, path, name }) => `${method} ${path} ${name}`),
    ).toEqual(kept);
    const tokenFor = (path: string) => (path.includes("/me") ? ada : root).token;
    for (const { method, path, name } of cases.filter((one) => !isRead(one))) {
      const given = givenTo(path, tokenFor(path));
      const answer = await ask(
        `${method} ${path.replaceAll(/\{\w+\}/g, UUID)}`,
        { [name]: '"x"' },
        given,
      );
      expect([method, path, answer.status, saidIn(answer)]).toEqual([
        method,
        path,
        400,
        path.startsWith("/oauth") ? { error: "invalid_request" } : refusal(name),
      ]);
    }
  });

  test("a read without versions refuses If-Match and ignores the other two", async () => {
    const { ada, root, ask } = await headersWorld();
    for (const path of ["/api/v1/users", "/api/v1/users/me/events", "/api/v1/users/me/sessions"]) {
      const matched = await ask(`GET ${path}`, { "if-match": '"x"' }, root);
      expect([path, matched.status, matched.body.code]).toEqual([path, 400, "unsupported_header"]);
      const free = { "idempotency-key": "k", "if-none-match": '"x"' };
      expect((await ask(`GET ${path}`, free, root)).status).toBe(200);
    }
    const { headers } = await ada.get("/users/me");
    const tag = headers.get("etag") ?? "";
    for (const path of ["/api/v1/users/me", `/api/v1/users/${ada.id}`]) {
      const { token } = path.endsWith("me") ? ada : root;
      expect((await ask(`GET ${path}`, { "if-match": tag }, { token })).status).toBe(200);
      const stale = await ask(`GET ${path}`, { "if-match": '"0"' }, { token });
      expect([stale.status, stale.headers.get("etag")]).toEqual([412, tag]);
    }
  });

  test("an anonymous caller gets 401 first", async () => {
    const { ask } = await headersWorld();
    const answer = await ask("PATCH /api/v1/users/me", { "idempotency-key": "k" }, { body: {} });
    expect(answer.body.code).toBe("not_signed_in");
  });
});

/** Valid bodies: headers are checked after the body. */
const bodies: Record<string, object> = {
  "/auth/login": { username: "ada", password: PASSWORD },
  "/auth/register": { email: "eve@example.com", password: PASSWORD },
  "/auth/refresh": { refresh_token: "rt_x" },
  "/auth/email/verify": { token: "x" },
  "/auth/email/verify/resend": { email: "eve@example.com" },
  "/auth/password/forgot": { email: "eve@example.com" },
  "/auth/password/reset": { token: "x", password: PASSWORD },
  "/auth/email-code": { email: "eve@example.com" },
  "/auth/email-code/verify": { token: "x" },
  "/users/me": {},
  "/users/me/password": { current_password: PASSWORD, new_password: "another stable of horses" },
  "/users/me/email": { email: "eve@example.com" },
  "/users/{id}": {},
  "/webhooks": { url: "https://example.com/", events: ["*"] },
  "/webhooks/{id}": {},
  "/webhooks/{id}/replay": { since: "2026-01-01T00:00:00Z" },
  "/oauth/token": { grant_type: "refresh_token", refresh_token: "x" },
  "/oauth/revoke": { token: "x" },
  "/oauth/introspect": { token: "x" },
};

test("412 carries the current version", async () => {
  const { ada, root, ask } = await headersWorld();
  const tag = (await ada.get("/users/me")).headers.get("etag");
  for (const [request, { token }] of [
    ["PATCH /api/v1/users/me", ada],
    ["PUT /api/v1/users/me", ada],
    [`PATCH /api/v1/users/${ada.id}`, root],
    [`DELETE /api/v1/users/${ada.id}`, root],
    ["DELETE /api/v1/users/me", ada],
  ] as const) {
    const body = request.startsWith("DELETE") ? {} : { body: { full_name: "Ada" } };
    const answer = await ask(request, { "if-match": '"0"' }, { token, ...body });
    expect([request, answer.status, answer.headers.get("etag")]).toEqual([request, 412, tag]);
  }
});

test("every POST that reads Idempotency-Key works once, and a retry gets the same response", async () => {
  const { ada, root, ask, sql, ctx } = await headersWorld();
  const mailedToken = async (kind: string) => {
    const mails = await readMails(ctx, "ada@example.com");
    const link = mails.find(({ queued }) => queued.kind === kind)?.content.link ?? "";
    return new URL(link).searchParams.get("token") ?? "";
  };
  const twice = async (path: string, body: object | undefined, token?: string) => {
    const given = { ...(body ? { body } : {}), ...(token ? { token } : {}) };
    const send = () =>
      ask(`POST /api/v1${path}`, { "idempotency-key": `key ${path}`.replaceAll(" ", "-") }, given);
    const [first, second] = [await send(), await send()];
    const said = ({ status, body: { request_id, ...rest } }: Answer) => [path, status, rest];
    expect(said(second)).toEqual(said(first));
    expect([path, second.headers.get("idempotency-replayed")]).toEqual([path, "true"]);
    const other = await ask(
      `POST /api/v1${path}`,
      { "idempotency-key": `key-${path}` },
      { ...given, body: { ...body, email: "other@example.com" } },
    );
    if (body && "email" in body) expect(other.body.code).toBe("idempotency_key_reused");
    return first.status;
  };
  expect(await twice("/auth/password/forgot", { email: "ada@example.com" })).toBe(202);
  expect(await twice("/auth/email/verify/resend", { email: "ada@example.com" })).toBe(202);
  expect((await sql`select 1 from mail_requests`).length).toBe(2);
  const token = await mailedToken("verify_email");
  expect(await twice("/auth/email/verify", { token, password: PASSWORD })).toBe(204);
  expect(await twice("/users/me/email", { email: "new@example.com" }, ada.token)).toBe(202);
  expect((await sql`select 1 from mail_requests`).length).toBe(3);
  await answerLinkRequests(ctx);
  const reset = {
    token: await mailedToken("reset_password"),
    password: "another stable of horses",
  };
  expect(await twice("/auth/password/reset", reset)).toBe(204);
  expect(await twice(`/users/${ada.id}/unlock`, undefined, root.token)).toBe(204);
  expect((await sql`select 1 from events where type = 'user.unlocked'`).length).toBe(1);
});

test("a refusal that consumes no limit stores no row", async () => {
  const { ada, ask, sql } = await headersWorld();
  for (const [path, body, token] of [
    ["/auth/password/reset", { token: "x", password: PASSWORD }],
    ["/auth/email/verify", { token: "x" }],
    ["/auth/email-code", { email: "ada@example.com" }],
    ["/users/me/email", { email: "ada@example.com" }, ada.token],
    [`/users/${UUID}/unlock`, {}, ada.token],
  ] as const)
    for (let turn = 0; turn < 2; turn += 1) {
      const key = { "idempotency-key": path };
      const given = { body, ...(token ? { token } : {}) };
      expect((await ask(`POST /api/v1${path}`, key, given)).status).toBeGreaterThanOrEqual(400);
    }
  expect(await sql`select 1 from idempotency`).toEqual([] as never);
});

test("the key of one user is not the key of another", async () => {
  const { ada, root, ask, sql } = await headersWorld();
  const unlock = (id: string) =>
    ask(`POST /api/v1/users/${id}/unlock`, { "idempotency-key": "k" }, { token: root.token });
  expect([(await unlock(ada.id)).status, (await unlock(root.id)).status]).toEqual([204, 204]);
  expect((await sql`select 1 from events where type = 'user.unlocked'`).length).toBe(2);
});

describe("a request ID", () => {
  const ask = async (id: string, trustedProxies: string[]) => {
    const { send, logged } = await world({ trustedProxies });
    const headers = { "x-request-id": id, "x-forwarded-for": "203.0.113.7" };
    const answer = await send("GET", "/api/v1/users/me", { headers });
    return { answer, logged };
  };

  test("of a trusted proxy is kept if it is well formed", async () => {
    for (const id of [
      UUID,
      "0123456789abcdef0123456789abcdef",
      "Root=1-67891233-abcdef012345678912345678",
    ]) {
      const { answer } = await ask(id, ["127.0.0.1"]);
      expect([answer.headers.get("x-request-id"), answer.body.request_id]).toEqual([id, id]);
    }
    for (const id of ["a b", "", "x".repeat(129), 'a"b', "a,b", "<b>"]) {
      const { answer } = await ask(id, ["127.0.0.1"]);
      expect(answer.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
      expect(answer.body.request_id).toBe(answer.headers.get("x-request-id"));
    }
  });

  test("of any other client is replaced", async () => {
    for (const trusted of [[], ["10.0.0.0/8"]])
      expect((await ask(UUID, trusted)).answer.headers.get("x-request-id")).not.toBe(UUID);
  });
});

test("the OpenAPI document lists the headers of each operation", async () => {
  const { send } = await world();
  const { paths, components } = (await send("GET", "/openapi.json")).body;
  const namesOf = (path: string, method: string, status: number) =>
    Object.keys(paths[path][method].responses[status].headers).sort();
  const limited = ["RateLimit", "RateLimit-Policy", "X-Request-Id"];
  expect(namesOf("/api/v1/users/me", "get", 200)).toEqual(["ETag", ...limited]);
  expect(namesOf("/api/v1/users/me", "get", 304)).toEqual(["ETag", ...limited]);
  expect(namesOf("/api/v1/users/me", "patch", 412)).toEqual(["ETag", ...limited]);
  expect(namesOf("/api/v1/users", "get", 200)).toEqual(
    ["Link", ...limited, "X-Total-Count"].sort(),
  );
  expect(namesOf("/api/v1/auth/register", "post", 201)).toEqual(
    ["Idempotency-Replayed", "Location", ...limited].sort(),
  );
  expect(namesOf("/api/v1/auth/login", "post", 200)).toEqual(
    ["Device-Token", "Set-Cookie", ...limited].sort(),
  );
  expect(namesOf("/api/v1/auth/login", "post", 429)).toEqual([...limited, "Retry-After"].sort());
  expect(namesOf("/readyz", "get", 503)).toEqual(["Retry-After", "X-Request-Id"]);
  expect(Object.keys(components.parameters)).toEqual([
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Device-Token",
    "Last-Event-ID",
  ]);
  for (const operations of Object.values<Answer["body"]>(paths))
    for (const { responses } of Object.values<Answer["body"]>(operations))
      for (const [status, { headers }] of Object.entries<Answer["body"]>(responses)) {
        expect(Object.keys(headers)).toContain("X-Request-Id");
        if (["429", "503"].includes(status)) expect(Object.keys(headers)).toContain("Retry-After");
      }
});
