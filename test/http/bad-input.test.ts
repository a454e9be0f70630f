import { describe, expect, test } from "bun:test";
import { problems } from "../../src/kit/problem-codes.ts";
import { type Answer, PASSWORD, world } from "../support/world.ts";

type Body = NonNullable<RequestInit["body"]>;

const KIB = 1024;
const json = { "content-type": "application/json" };
const deep = (depth: number) => `${"[".repeat(depth)}${"]".repeat(depth)}`;

/** Every route that takes a body, for a caller who may use it. */
async function writeRoutes() {
  const { newUser, superuser, send, ...rest } = await world();
  const root = await superuser();
  const ada = await newUser();
  const routes = [
    { method: "POST", path: "/api/v1/auth/register", token: "" },
    { method: "POST", path: "/api/v1/auth/login", token: "" },
    { method: "POST", path: "/api/v1/auth/refresh", token: "" },
    { method: "PUT", path: "/api/v1/users/me/password", token: ada.token },
    { method: "PUT", path: "/api/v1/users/me", token: ada.token },
    { method: "PATCH", path: "/api/v1/users/me", token: ada.token },
    { method: "PATCH", path: `/api/v1/users/${ada.id}`, token: root.token },
  ];
  const sendRaw = (
    route: (typeof routes)[number],
    body?: Body,
    headers: Record<string, string> = json,
  ) =>
    send(route.method, route.path, {
      headers: {
        ...headers,
        ...(route.token ? { authorization: `Bearer ${route.token}` } : {}),
      },
      ...(body === undefined ? {} : { body }),
    });
  return { routes, sendRaw, ada, root, send, ...rest };
}

const expectProblem = (answer: Answer, status: number, code: string) => {
  expect(answer.headers.get("content-type")).toBe("application/problem+json");
  expect({ status: answer.status, code: answer.body.code }).toEqual({ status, code });
  expect(answer.body.request_id).toBe(answer.headers.get("x-request-id"));
  expect(answer.body.type).toBe(`/problems/${code}`);
};

describe("every write route refuses", () => {
  const unreadable: Record<string, Body> = {
    "half a document": '{"email": "a',
    "depth 33": `{"email":${deep(32)}}`,
    "a NUL": '{"email":"a\\u0000b"}',
    "a NUL in a name": '{"a\\u0000b":1}',
    "a lone surrogate": '{"email":"\\ud800"}',
    "bytes that are not UTF-8": new Uint8Array([0x22, 0xff, 0x22]),
  };
  for (const [what, body] of Object.entries(unreadable))
    test(what, async () => {
      const { routes, sendRaw } = await writeRoutes();
      for (const route of routes)
        expectProblem(await sendRaw(route, body), 400, "malformed_request");
    });

  test("a missing body, and an empty one of unknown length", async () => {
    const { routes, sendRaw } = await writeRoutes();
    const empty = () => new Blob([]).stream();
    for (const route of routes)
      for (const answer of [
        await sendRaw(route),
        await sendRaw(route, ""),
        await sendRaw(route, empty()),
        await sendRaw(route, empty(), {}),
      ]) {
        expectProblem(answer, 422, "invalid_request");
        expect(answer.body.errors[0].code).toBe("missing");
      }
  });

  const unfit: Record<string, [string, string]> = {
    "an array": ["[]", ""],
    "a number": ["7", ""],
    null: ["null", ""],
    "depth 32, which can be read": [`{"email":${deep(31)}}`, ""],
    "an unknown field": ['{"sentinel_name":"sentinel_value"}', ""],
    "a privileged field": [
      '{"is_superuser":"sentinel_value","password_hash":"sentinel_value"}',
      "",
    ],
    __proto__: ['{"__proto__":{"is_superuser":true}}', ""],
  };
  for (const [what, [body]] of Object.entries(unfit))
    test(`${what}, with pointers and without repeating it`, async () => {
      const { routes, sendRaw } = await writeRoutes();
      for (const route of routes) {
        const answer = await sendRaw(route, body);
        expectProblem(answer, 422, "invalid_request");
        expect(answer.body.errors.length).toBeGreaterThan(0);
        for (const error of answer.body.errors)
          expect(error).toEqual({
            pointer: expect.any(String),
            code: expect.any(String),
            detail: expect.any(String),
          });
        expect(JSON.stringify(answer.body)).not.toContain("sentinel");
      }
    });

  test("64 KiB and one byte, also without a Content-Length", async () => {
    const { routes, sendRaw } = await writeRoutes();
    const large = JSON.stringify({ email: "a".repeat(64 * KIB - 11) });
    expect(large.length).toBe(64 * KIB + 1);
    const stream = () => new Blob([large]).stream();
    for (const route of routes) {
      expectProblem(await sendRaw(route, large), 413, "body_too_large");
      expectProblem(await sendRaw(route, stream()), 413, "body_too_large");
      expect((await sendRaw(route, large.replace("aa", "a"))).status).toBe(422);
    }
  });

  test("another content type", async () => {
    const { routes, sendRaw } = await writeRoutes();
    for (const type of [
      "text/plain",
      "application/xml",
      "multipart/form-data; boundary=x",
      "application/jsonx",
    ])
      for (const route of routes)
        expectProblem(
          await sendRaw(route, "{}", { "content-type": type }),
          415,
          "unsupported_media_type",
        );
    const form = new URLSearchParams({ email: "a" });
    for (const route of routes.filter(({ path }) => !path.endsWith("/login")))
      expectProblem(await sendRaw(route, form, {}), 415, "unsupported_media_type");
  });

  test("a password of one MiB, without hashing it", async () => {
    const { routes, sendRaw, anonymous } = await writeRoutes();
    const password = "x".repeat(1024 * KIB);
    for (const route of routes)
      expectProblem(await sendRaw(route, JSON.stringify({ password })), 413, "body_too_large");
    const long = await anonymous.post("/auth/register", {
      email: "a@example.com",
      password: "x".repeat(60_000),
    });
    expect(long.body.errors).toMatchObject([{ pointer: "/password", code: "too_long" }]);
  });
});

test("a repeated key causes no internal error", async () => {
  const { routes, sendRaw } = await writeRoutes();
  for (const route of routes) {
    const { status } = await sendRaw(route, '{"full_name":"a","full_name":"b","username":"x"}');
    expect(status).toBeLessThan(500);
  }
});

test("an anonymous caller gets 401, whatever the body is", async () => {
  const { routes, sendRaw } = await writeRoutes();
  for (const route of routes.filter(({ token }) => token !== ""))
    for (const body of ["{}", "{", '{"is_superuser":true}', "x".repeat(65 * KIB)]) {
      const answer = await sendRaw({ ...route, token: "" }, body);
      expectProblem(answer, 401, "not_signed_in");
      expect(answer.headers.get("www-authenticate")).toBe('Bearer realm="bunker"');
    }
});

test("a token in the URL or in the body is ignored", async () => {
  const { ada, send } = await writeRoutes();
  const path = `/api/v1/users/me?access_token=${ada.token}`;
  expectProblem(await send("GET", path), 401, "not_signed_in");
  const headers = { authorization: "Basic YTpi" };
  expectProblem(await send("GET", path, { headers }), 401, "not_signed_in");
  const body = JSON.stringify({ access_token: ada.token, full_name: "x" });
  expectProblem(
    await send("PATCH", "/api/v1/users/me", { body, headers: json }),
    401,
    "not_signed_in",
  );
});

test("a string that never ends is refused, whatever is escaped in it", async () => {
  const { routes, sendRaw } = await writeRoutes();
  for (const route of routes)
    expectProblem(await sendRaw(route, `{"${'\\"'.repeat(32_000)}`), 400, "malformed_request");
});

test("brackets in strings do not count, and escaped quotes do not end a string", async () => {
  const { anonymous } = await world();
  const full_name = `\\"${"[{".repeat(40)}\\\\`;
  const answer = await anonymous.post("/auth/register", {
    email: "a@example.com",
    password: PASSWORD,
    full_name,
  });
  expect(answer.body.full_name).toBe(full_name);
});

test("a form with bytes that are not UTF-8 is refused", async () => {
  const { send } = await world();
  const headers = { "content-type": "application/x-www-form-urlencoded" };
  for (const body of [
    "username=a&password=%FF%FEabc",
    "username=a&password=%",
    "username=%00&password=b",
  ])
    expectProblem(
      await send("POST", "/api/v1/auth/login", { headers, body }),
      400,
      "malformed_request",
    );
});

describe("paths and methods", () => {
  test("an unknown path gets 404, a wrong method 405 with Allow", async () => {
    const { send } = await world();
    for (const path of ["/api/v1/nothing", "//", "/problems/nothing"])
      expectProblem(await send("GET", path), 404, "not_found");
    expect((await send("GET", "/openapi.json/")).status).toBe(200);
    for (const [method, path, allow] of [
      ["DELETE", "/api/v1/auth/login", "POST"],
      ["TRACE", "/livez", "GET, HEAD"],
      ["OPTIONS", "/api/v1/users/me", "DELETE, GET, HEAD, PATCH, PUT"],
      ["POST", "/api/v1/users/019aac30-5c1b-7d4e-9d3f-6a2b8c4e1f70", "DELETE, GET, HEAD, PATCH"],
    ] as const) {
      const answer = await send(method, path);
      expectProblem(answer, 405, "method_not_allowed");
      expect(answer.headers.get("allow")).toBe(allow);
    }
  });

  test("broken percent-encoding in a path causes no internal error", async () => {
    const { send, root } = await writeRoutes();
    for (const id of ["%", "%ff", "%00", "..%2f..", "a%0d%0ab", `urn:uuid:${Bun.randomUUIDv7()}`]) {
      const answer = await send("GET", `/api/v1/users/${id}`, {
        headers: { authorization: `Bearer ${root.token}` },
      });
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(answer.status).toBeLessThan(500);
    }
  });

  test("every problem has a page", async () => {
    const { send } = await world();
    const page = await send("GET", "/problems/email_taken");
    expect(page.headers.get("content-type")).toContain("text/html");
    expect(page.body).toContain("The email is taken");
    const index = await send("GET", "/problems");
    for (const code of Object.keys(problems))
      expect(index.body).toContain(`href="/problems/${code}"`);
    expectProblem(await send("GET", "/problems/nothing"), 404, "not_found");
    expectProblem(await send("GET", "/problems/__proto__"), 404, "not_found");
  });
});

test("messages of the database never reach a caller", async () => {
  const { send, anonymous, sql, logged } = await world();
  await sql`alter table users rename to elsewhere`;
  try {
    const input = { email: "ada@example.com", password: PASSWORD };
    const answer = await anonymous.post("/auth/register", input);
    expectProblem(answer, 500, "internal");
    expect(JSON.stringify(answer.body)).not.toContain("users");
    expect(logged.at(-1)?.fields).toMatchObject({ request_id: answer.body.request_id });
    expect((await send("GET", "/livez")).status).toBe(200);
  } finally {
    await sql`alter table elsewhere rename to users`;
  }
});
