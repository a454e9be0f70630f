import { describe, expect, test } from "bun:test";
import { PASSWORD, world } from "../support/world.ts";

const json = { "content-type": "application/json" };
const form = { "content-type": "application/x-www-form-urlencoded" };

/** Pointers and codes of a response. */
const faultsIn = ({ body }: { body: { errors: { pointer: string; code: string }[] } }) =>
  Object.fromEntries(body.errors.map(({ pointer, code }) => [pointer, code]));

describe("one response reports all invalid fields of a request", () => {
  const cases: [string, string, object, Record<string, string>][] = [
    [
      "a registration that fits its schema",
      "/auth/register",
      { email: "nobody", password: "short", username: "a b c", locale: "??" },
      {
        "/email": "wrong_format",
        "/password": "too_short",
        "/username": "wrong_format",
        "/locale": "wrong_format",
      },
    ],
    [
      "a registration with a field that does not fit",
      "/auth/register",
      { email: "x", password: "short", username: "..", full_name: 7 },
      {
        "/email": "wrong_format",
        "/password": "too_short",
        "/username": "wrong_format",
        "/full_name": "wrong_type",
      },
    ],
    [
      "a registration without an email",
      "/auth/register",
      { password: "adalovelace", username: "adalovelace", id: 1, sentinel: 1 },
      {
        "/email": "missing",
        "/password": "password_too_personal",
        "/id": "not_writable",
        "": "unknown_field",
      },
    ],
    [
      "a new password without the mailed token",
      "/auth/password/reset",
      { password: "12345678" },
      { "/token": "missing", "/password": "password_too_common" },
    ],
    [
      "a sign-in without any field",
      "/auth/login",
      {},
      { "/username": "missing", "/password": "missing" },
    ],
    [
      "a sign-in with two names",
      "/auth/login",
      { username: "ada", email: "ada@example.com" },
      { "/email": "not_allowed", "/password": "missing" },
    ],
  ];
  for (const [what, path, body, faults] of cases)
    test(what, async () => {
      const { anonymous } = await world();
      const answer = await anonymous.post(path, body);
      expect([answer.status, faultsIn(answer)]).toEqual([422, faults]);
    });

  test("a change of password", async () => {
    const { newUser } = await world();
    const ada = await newUser();
    const answer = await ada.put("/users/me/password", { new_password: "ada@example.com" });
    expect(faultsIn(answer)).toEqual({
      "/current_password": "missing",
      "/new_password": "password_too_personal",
    });
  });

  test("a request without a body, or with an empty form", async () => {
    const { send } = await world();
    const register = await send("POST", "/api/v1/auth/register", { headers: json });
    expect(faultsIn(register)).toEqual({ "/email": "missing", "/password": "missing" });
    for (const body of ["", "username=&password=", "username&password"]) {
      const login = await send("POST", "/api/v1/auth/login", { headers: form, body });
      expect([body, faultsIn(login)]).toEqual([
        body,
        { "/username": "missing", "/password": "missing" },
      ]);
    }
  });
});

test("the detail of an error describes the first invalid field", async () => {
  const { anonymous, newUser, superuser } = await world();
  const [ada, root] = [await newUser(), await superuser()];
  const detailOf = async (asked: Promise<{ body: { detail: string } }>) =>
    (await asked).body.detail;
  const registration = { email: "ada", password: "short" };
  expect(await detailOf(anonymous.post("/auth/register", registration))).toBe(
    "email is not an email address",
  );
  expect(await detailOf(anonymous.post("/auth/register", { password: PASSWORD }))).toBe(
    "email is missing",
  );
  expect(await detailOf(ada.patch("/users/me", { sentinel: 1 }))).toBe(
    "The body has an unknown field",
  );
  expect(await detailOf(ada.patch("/users/me", { full_name: "" }))).toBe(
    "full_name needs at least 1 character",
  );
  expect(await detailOf(anonymous.post("/auth/login", { username: "", password: "x" }))).toBe(
    "username needs at least 1 character",
  );
  expect(await detailOf(root.get("/users?limit=0"))).toBe("limit must be from 1 to 200");
  expect(await detailOf(root.get("/users?sentinel=0"))).toBe("The query has an unknown parameter");
  expect(await detailOf(root.get("/users/7"))).toBe("id has the wrong format");
});

describe("pointers outside the body", () => {
  test("point into the query", async () => {
    const { superuser } = await world();
    const root = await superuser();
    for (const path of ["/users", "/users/me/events"]) {
      const many = await root.get(`${path}?email=a&sentinel=b&limit=0&skip=x&cursor=y&total=z`);
      expect(faultsIn(many)).toEqual({
        "/query/email": "unknown_field",
        "/query": "unknown_field",
        "/query/limit": "out_of_range",
        "/query/skip": "wrong_type",
        "/query/cursor": "wrong_format",
        "/query/total": "wrong_type",
      });
      expect(JSON.stringify(many.body)).not.toMatch(/sentinel|cannot be (set|changed)/);
      const fitting = await root.get(`${path}?limit=0&skip=x`);
      expect(faultsIn(fitting)).toEqual({
        "/query/limit": "out_of_range",
        "/query/skip": "wrong_type",
      });
    }
  });

  test("point to a parameter that is sent more than once", async () => {
    const { superuser } = await world();
    const root = await superuser();
    const twice = await root.get("/users?skip=1&skip=1&limit=0");
    expect(faultsIn(twice)).toEqual({ "/query/skip": "repeated", "/query/limit": "out_of_range" });
    const unknown = await root.get("/users?%74otal=true&total=true&cursor=a&cursor=b&q=1&q=2");
    expect(faultsIn(unknown)).toEqual({
      "/query/total": "repeated",
      "/query/cursor": "repeated",
      "/query": "unknown_field",
    });
  });

  test("point into the path and to a header", async () => {
    const { superuser, send } = await world();
    const root = await superuser();
    expect(faultsIn(await root.get("/users/7"))).toEqual({ "/path/id": "wrong_format" });
    const headers = { ...json, "idempotency-key": "with blank" };
    const body = JSON.stringify({ email: "ada@example.com", password: PASSWORD });
    const answer = await send("POST", "/api/v1/auth/register", { headers, body });
    expect(faultsIn(answer)).toEqual({ "/header/Idempotency-Key": "wrong_format" });
  });
});

test("sign-in takes an email or a username, by either name, as JSON", async () => {
  const { anonymous, newUser } = await world();
  await newUser("ada@example.com");
  const password = PASSWORD;
  for (const name of [{ email: "ADA@example.com" }, { username: "ada" }]) {
    const answer = await anonymous.post("/auth/login", { ...name, password });
    expect([name, answer.status]).toEqual([name, 200]);
  }
  const wrong = await anonymous.post("/auth/login", { email: "eve@example.com", password });
  expect([wrong.status, wrong.body.code]).toEqual([401, "invalid_credentials"]);
  // A username is not an email: it would be found by the other name.
  expect(faultsIn(await anonymous.post("/auth/login", { email: "ada", password }))).toEqual({
    "/email": "wrong_format",
  });
});

test("the OAuth endpoints report missing parameters, also empty ones", async () => {
  const { send } = await world();
  const described = async (path: string, body: string) =>
    (await send("POST", path, { headers: form, body })).body;
  for (const [path, body, words] of [
    ["/oauth/token", "", "grant_type is missing"],
    ["/oauth/token", "grant_type=", "grant_type is missing"],
    ["/oauth/token", "grant_type=refresh_token", "refresh_token is missing"],
    ["/oauth/token", "grant_type=refresh_token&refresh_token=", "refresh_token is missing"],
    ["/oauth/revoke", "", "token is missing"],
    ["/oauth/introspect", "token=", "token is missing"],
  ] as const)
    expect([body, await described(path, body)]).toEqual([
      body,
      { error: "invalid_request", error_description: words },
    ]);
});

test("an empty change changes nothing", async () => {
  const { newUser, superuser } = await world();
  const [ada, root] = [await newUser(), await superuser()];
  const before = await ada.get("/users/me");
  for (const answer of [
    await ada.patch("/users/me", {}),
    await ada.put("/users/me", {}),
    await root.patch(`/users/${ada.id}`, {}),
  ])
    expect([answer.status, answer.body, answer.headers.get("etag")]).toEqual([
      200,
      before.body,
      before.headers.get("etag"),
    ]);
});
