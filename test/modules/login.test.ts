import { describe, expect, test } from "bun:test";
import { PASSWORD, world } from "../support/world.ts";

describe("login", () => {
  test("takes OAuth2's password form and JSON, an email or a username, in any case", async () => {
    const { anonymous, newUser, send } = await world();
    await newUser("Ada@example.com");
    for (const username of ["ada@EXAMPLE.com", "ADA", "Ada"]) {
      const byJson = await anonymous.post("/auth/login", { username, password: PASSWORD });
      const form = new URLSearchParams({ grant_type: "password", username, password: PASSWORD });
      const byForm = await send("POST", "/api/v1/auth/login", { body: form });
      for (const answer of [byJson, byForm]) {
        expect(answer.body).toEqual({
          access_token: expect.any(String),
          token_type: "bearer",
          expires_in: 900,
          refresh_token: expect.stringMatching(/^rt_/),
        });
        expect(answer.headers.get("cache-control")).toBe("no-store");
      }
    }
  });

  test("an unknown name and a wrong password get the same response", async () => {
    const { anonymous, newUser } = await world();
    await newUser();
    const answers = await Promise.all(
      ["ada@example.com", "nobody@example.com", "nobody"].map((username) =>
        anonymous.post("/auth/login", { username, password: "wrong wrong wrong" }),
      ),
    );
    for (const { status, body, headers } of answers) {
      expect({ status, ...body, request_id: "" }).toEqual({
        type: "/problems/invalid_credentials",
        title: "Incorrect email, username or password",
        status: 401,
        detail: "Incorrect email or password",
        code: "invalid_credentials",
        request_id: "",
      });
      expect(headers.get("www-authenticate")).toBe('Bearer realm="bunker"');
    }
  });

  test("only with the password does a caller learn that a user is deactivated", async () => {
    const { anonymous, newUser, superuser } = await world();
    const root = await superuser();
    const ada = await newUser();
    await root.patch(`/users/${ada.id}`, { is_active: false });
    const login = (password: string) =>
      anonymous.post("/auth/login", { username: "ada@example.com", password });
    expect(await login("wrong wrong wrong")).toMatchObject({
      status: 401,
      body: { code: "invalid_credentials" },
    });
    expect(await login(PASSWORD)).toMatchObject({
      status: 403,
      body: { code: "account_inactive" },
    });
  });

  test("two Unicode spellings of one password are the same password", async () => {
    const { anonymous } = await world();
    const composed = "caf\u00e9 au lait tonight";
    const decomposed = "cafe\u0301 au lait tonight";
    await anonymous.post("/auth/register", { email: "ada@example.com", password: composed });
    const answer = await anonymous.post("/auth/login", { username: "ada", password: decomposed });
    expect(answer.status).toBe(200);
  });

  test("a form with a repeated field, or with a scope, is refused", async () => {
    const { send } = await world();
    const headers = { "content-type": "application/x-www-form-urlencoded" };
    const post = (body: string) => send("POST", "/api/v1/auth/login", { headers, body });
    expect(await post("username=a&username=b&password=c")).toMatchObject({
      status: 400,
      body: { code: "malformed_request" },
    });
    expect((await post("username=a&password=c&scope=admin")).body.errors).toMatchObject([
      { pointer: "/scope", code: "not_allowed" },
    ]);
  });
});
