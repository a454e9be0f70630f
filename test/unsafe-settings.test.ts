import { describe, expect, test } from "bun:test";
import { readConfig } from "../src/config/config.ts";
import { Exit } from "../src/kit/exit.ts";

const SECRET_KEY = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const DATABASE_URL = "postgres://localhost/bunker";
const PUBLIC_URL = "https://accounts.example.com";
const MAIL_URL = "smtp://mail.example.com";
const SIGN_IN_REDIRECT_URL = "https://app.example.com/sign-in";

const read = (env: Record<string, string>, isServing = true) =>
  readConfig({ BUNKER_ENV: "production", ...env }, { isServing });
const refusal = (env: Record<string, string>, isServing = true): string => {
  try {
    read(env, isServing);
    return "accepted";
  } catch (error) {
    if (!(error instanceof Exit) || error.status !== 78) throw error;
    return error.message;
  }
};

describe("a server in production", () => {
  test("on an external database requires the settings that cannot be guessed", () => {
    const message = refusal({ DATABASE_URL });
    expect(message).toContain("SECRET_KEY is required");
    expect(message).toContain("PUBLIC_URL is required in production with DATABASE_URL");
    expect(refusal({ DATABASE_URL, SECRET_KEY, PUBLIC_URL })).toBe("accepted");
  });

  test("with the embedded database starts without PUBLIC_URL, and warns about it", () => {
    expect(read({}).warnings).toEqual([expect.stringContaining("PUBLIC_URL is not set: ")]);
    expect(read({ PUBLIC_URL }).warnings).toEqual([]);
    expect(refusal({ MAIL_URL })).toContain("PUBLIC_URL is required in production with MAIL_URL");
    expect(refusal({ MAIL_URL, PUBLIC_URL })).toBe("accepted");
  });

  test("accepts an http URL for this machine only, unless that is allowed", () => {
    for (const url of [
      "http://localhost:3000",
      "http://a.localhost",
      "http://127.1.2.3",
      "http://[::1]:3000",
    ])
      expect([url, refusal({ PUBLIC_URL: url })]).toEqual([url, "accepted"]);
    for (const url of [
      "http://example.com",
      "http://10.0.0.7",
      "http://localhost.example.com",
      "http://[fd00::1]",
    ])
      expect([url, refusal({ PUBLIC_URL: url })]).toEqual([
        url,
        expect.stringContaining("PUBLIC_URL_ALLOW_HTTP=on"),
      ]);
    const allowed = { PUBLIC_URL: "http://example.com", PUBLIC_URL_ALLOW_HTTP: "on" };
    expect(refusal(allowed)).toBe("accepted");
  });

  test("requires mail if nobody can sign in without it", () => {
    const signIn = { EMAIL_SIGN_IN: "on", SIGN_IN_REDIRECT_URL };
    for (const more of [{ REQUIRE_EMAIL_VERIFICATION: "on" }, signIn]) {
      expect(refusal({ PUBLIC_URL, ...more })).toContain(`MAIL_URL is required in production with`);
      expect(refusal({ PUBLIC_URL, MAIL_URL, ...more })).toBe("accepted");
      expect(refusal({ BUNKER_ENV: "development", ...more })).toBe("accepted");
    }
  });

  test("requires the product's page for email sign-in", () => {
    const settings = { PUBLIC_URL, MAIL_URL, EMAIL_SIGN_IN: "on" };
    expect(refusal(settings)).toContain("SIGN_IN_REDIRECT_URL is required");
    expect(refusal({ ...settings, SIGN_IN_REDIRECT_URL })).toBe("accepted");
    expect(refusal({ ...settings, BUNKER_ENV: "development" })).toBe("accepted");
  });
});

test("a command other than serve requires neither PUBLIC_URL nor mail", () =>
  expect(
    refusal(
      { DATABASE_URL, SECRET_KEY, MAIL_URL, REQUIRE_EMAIL_VERIFICATION: "on", EMAIL_SIGN_IN: "on" },
      false,
    ),
  ).toBe("accepted"));

test("refuses an example password for the first superuser, and one that contains their name", () => {
  const FIRST_SUPERUSER_EMAIL = "ada.king@example.com";
  for (const FIRST_SUPERUSER_PASSWORD of [
    "changethis",
    "CHANGETHIS",
    "change-me-now",
    "ChangeMe2026",
    "adminpassword",
    "short",
    "ada.king@example.com",
    "password1",
  ])
    expect(refusal({ FIRST_SUPERUSER_EMAIL, FIRST_SUPERUSER_PASSWORD })).toContain(
      "FIRST_SUPERUSER_PASSWORD",
    );
});

test("refuses receivers of webhooks that are not exact, and any word but true and false", () => {
  expect(
    read({ PUBLIC_URL, WEBHOOKS_ALLOW: "a:80", WEBHOOKS_ALLOW_PRIVATE: "true" }).config,
  ).toMatchObject({ webhooksAllow: ["a:80"], webhooksAllowPrivate: true });
  expect(read({ PUBLIC_URL }).config).toMatchObject({
    webhooksAllow: [],
    webhooksAllowPrivate: false,
  });
  expect(refusal({ WEBHOOKS_ALLOW: "10.0.0.0/8" })).toContain("WEBHOOKS_ALLOW must be hosts");
  for (const word of ["on", "1", "TRUE"])
    expect(refusal({ WEBHOOKS_ALLOW_PRIVATE: word })).toContain("must be true or false");
});

test("warns about a setting of a later version", () => {
  for (const name of ["SECURITY_CONTACT"])
    expect(read({ PUBLIC_URL, [name]: "x" }).warnings).toEqual([
      `${name} has no effect in this version`,
    ]);
});
