import { describe, expect, test } from "bun:test";
import { PASSWORD, world } from "../support/world.ts";

describe("register", () => {
  test("creates a user, returns its Location, and never shows a hash", async () => {
    const { anonymous } = await world();
    const answer = await anonymous.post("/auth/register", {
      email: "Ada@Example.com",
      password: PASSWORD,
      full_name: "Ada Lovelace",
      locale: "en-gb",
    });
    expect(answer.status).toBe(201);
    expect(answer.headers.get("location")).toBe("/api/v1/users/me");
    expect(answer.body).toEqual({
      id: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-7/),
      email: "Ada@Example.com",
      username: "Ada",
      full_name: "Ada Lovelace",
      is_active: true,
      is_superuser: false,
      email_verified: false,
      locale: "en-GB",
      created_at: expect.stringMatching(/Z$/),
      updated_at: answer.body.created_at,
    });
  });

  test("an email is taken in every spelling of it", async () => {
    const { anonymous, newUser } = await world();
    await newUser("ada@bücher.example");
    for (const email of ["ADA@BÜCHER.EXAMPLE", " ada@xn--bcher-kva.example "])
      expect(await anonymous.post("/auth/register", { email, password: PASSWORD })).toMatchObject({
        status: 409,
        body: { code: "email_taken", detail: "User with this email already exists" },
      });
  });

  test("a username is taken in every case of it", async () => {
    const { anonymous } = await world();
    const register = (email: string, username: string) =>
      anonymous.post("/auth/register", { email, username, password: PASSWORD });
    await register("ada@example.com", "Ada");
    expect(await register("other@example.com", "aDA")).toMatchObject({
      status: 409,
      body: { code: "username_taken" },
    });
  });

  test("non-ASCII letters before the @ need a mail server with SMTPUTF8, those of the domain do not", async () => {
    const statusesWith = async (mailUrl: string | undefined) => {
      const { anonymous } = await world({ mailUrl });
      const register = (email: string) =>
        anonymous.post("/auth/register", { email, password: "short" });
      return [await register("jörg@example.com"), await register("joerg@bücher.example")].map(
        ({ body }) => body.errors.map(({ pointer }: { pointer: string }) => pointer),
      );
    };
    const refused = [["/email", "/password"], ["/password"]];
    expect(await statusesWith(undefined)).toEqual(refused);
    expect(await statusesWith("smtp://localhost?tls=off")).toEqual(refused);
    expect(await statusesWith("smtp://localhost?smtputf8=on")).toEqual([
      ["/password"],
      ["/password"],
    ]);
  });

  test("without a username the user gets one, also if the obvious one is taken or reserved", async () => {
    const { anonymous } = await world({ mailUrl: "smtp://localhost?smtputf8=on" });
    const nameOf = async (email: string) =>
      (await anonymous.post("/auth/register", { email, password: PASSWORD })).body.username;
    expect(await nameOf("grace.hopper@example.com")).toBe("grace.hopper");
    expect(await nameOf("grace.hopper@example.org")).toMatch(/^grace\.hopper-[0-9a-f]{6}$/);
    expect(await nameOf("admin@example.com")).toMatch(/^admin-[0-9a-f]{6}$/);
    expect(await nameOf("ü@example.com")).toMatch(/^u-[0-9a-f]{6}$/);
    expect(await nameOf("李@example.com")).toMatch(/^user-[0-9a-f]{6}$/);
  });

  test("of fifty concurrent registrations of one email, one succeeds", async () => {
    const { anonymous } = await world();
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, at) =>
        anonymous.post("/auth/register", {
          email: "ada@example.com",
          username: `ada${at}`,
          password: PASSWORD,
        }),
      ),
    );
    const statuses = answers.map(({ status }) => status).sort();
    expect(statuses).toEqual([201, ...Array.from({ length: 49 }, () => 409)]);
  });

  test("all invalid fields are reported at once, with pointers", async () => {
    const { anonymous } = await world();
    const answer = await anonymous.post("/auth/register", {
      email: "not an address",
      username: "no@signs",
      password: "password",
      locale: "x",
    });
    expect(answer).toMatchObject({ status: 422, body: { code: "invalid_request" } });
    expect(answer.body.errors).toEqual([
      { pointer: "/email", code: "wrong_format", detail: expect.any(String) },
      { pointer: "/password", code: "password_too_common", detail: expect.any(String) },
      { pointer: "/username", code: "wrong_format", detail: expect.any(String) },
      { pointer: "/locale", code: "wrong_format", detail: expect.any(String) },
    ]);
  });

  test("fields for administrators are refused by name, and unknown fields without their name", async () => {
    const { anonymous } = await world();
    const answer = await anonymous.post("/auth/register", {
      email: "ada@example.com",
      password: PASSWORD,
      is_superuser: true,
      id: "1",
      role: "admin",
    });
    expect(answer.status).toBe(422);
    expect(answer.body.errors).toContainEqual(
      expect.objectContaining({ pointer: "/is_superuser", code: "not_writable" }),
    );
    expect(answer.body.errors).toContainEqual(
      expect.objectContaining({ pointer: "/id", code: "not_writable" }),
    );
    expect(answer.body.errors).toContainEqual(
      expect.objectContaining({ pointer: "", code: "unknown_field" }),
    );
    expect(JSON.stringify(answer.body)).not.toContain("role");
  });

  test("REGISTRATION=closed refuses everyone", async () => {
    const { anonymous } = await world({ registration: "closed" });
    const input = { email: "ada@example.com", password: PASSWORD };
    expect(await anonymous.post("/auth/register", input)).toMatchObject({
      status: 403,
      body: { code: "registration_closed" },
    });
  });
});
