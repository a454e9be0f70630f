/** What an anonymous caller learns about who is a user. A row of SECURITY.md names each test. */
import { describe, expect, setSystemTime, test } from "bun:test";
import { DAY } from "../../src/limits/policies.ts";
import { LINK_PATHS } from "../../src/pages/links.ts";
import { ADA, frozenWorld, HOUR_MS, MORNING, NOBODY, visible } from "../support/disclosure.ts";
import { NEW } from "../support/mail-world.ts";
import { few, ipOf, proxiedWorld, wrong } from "../support/proxied-world.ts";
import { PASSWORD } from "../support/world.ts";

describe("an anonymous caller", () => {
  test("cannot tell a user from no user by failed sign-ins, limits or Retry-After", async () => {
    setSystemTime(MORNING);
    const { post } = await proxiedWorld({ "login-streak": { ...few, periodSeconds: 90 * DAY } });
    const tries = async (from: number) => {
      const answers: Record<string, unknown[]> = { [ADA]: [], [NOBODY]: [] };
      for (const [at, username] of Object.keys(answers).entries())
        for (let number = 0; number < 5; number += 1) {
          const sent = { username, password: wrong };
          answers[username]?.push(visible(await post("login", ipOf(from + at * 5 + number), sent)));
        }
      return answers;
    };
    for (const hours of [0, 3, 30, 24 * 40, 24 * 60]) {
      setSystemTime(MORNING + hours * HOUR_MS);
      const { [ADA]: known = [], ...others } = await tries(hours * 10);
      expect([hours, others]).toEqual([hours, { [NOBODY]: known }]);
      expect(known.at(-1)).toMatchObject({ status: 429 });
    }
  });

  test("cannot tell which username belongs to an email", async () => {
    setSystemTime(MORNING);
    const { post, newUser } = await proxiedWorld({ "login-account": few });
    await newUser("bob@example.com");
    const guess = async (at: number, username: string) =>
      visible(await post("login", ipOf(at), { username, password: wrong }));
    for (let at = 0; at < 4; at += 1) await guess(at, ADA);
    const answers = [await guess(10, "ada"), await guess(11, "bob"), await guess(12, "nobody-1")];
    expect(answers.map(({ status }) => status)).toEqual([401, 401, 401]);
    expect(answers[0]).toEqual(answers[1]);
    expect(answers[0]).toEqual(answers[2]);
  });

  test("learns that a user is deactivated, or the email not verified, only with the password", async () => {
    const { ask, newUser, superuser, sql } = await frozenWorld({ oauthPasswordGrant: "on" });
    const root = await superuser();
    const ada = await newUser();
    const logIn = (username: string, password: string) =>
      ask("POST /api/v1/auth/login", { username, password });
    const grant = (username: string, password: string) =>
      ask("POST /oauth/token", `grant_type=password&username=${username}&password=${password}`);
    await root.patch(`/users/${ada.id}`, { is_active: false });
    expect(await logIn(ADA, wrong)).toEqual(await logIn(NOBODY, wrong));
    expect(await grant(ADA, wrong)).toEqual(await grant(NOBODY, wrong));
    expect((await logIn(ADA, PASSWORD)).body).toMatchObject({ code: "account_inactive" });
    await sql`update users set is_active = true`;
    const careful = await frozenWorld({ requireEmailVerification: "on" });
    await careful.ask("POST /api/v1/auth/register", { email: ADA, password: PASSWORD });
    const enter = (username: string, password: string) =>
      careful.ask("POST /api/v1/auth/login", { username, password });
    expect(await enter(ADA, wrong)).toEqual(await enter(NOBODY, wrong));
    expect((await enter(ADA, PASSWORD)).body).toMatchObject({ code: "email_not_verified" });
  });

  test("learns which names are taken by registering, unless emails must be verified", async () => {
    const register = (here: Awaited<ReturnType<typeof frozenWorld>>, email: string, more = {}) =>
      here.ask("POST /api/v1/auth/register", { email, password: PASSWORD, ...more });
    const open = await frozenWorld();
    await open.newUser();
    expect((await register(open, ADA)).body).toMatchObject({ code: "email_taken" });
    expect((await register(open, NOBODY, { username: "ada" })).body).toMatchObject({
      code: "username_taken",
    });
    const careful = await frozenWorld({ requireEmailVerification: "on" });
    await register(careful, ADA);
    setSystemTime(MORNING + HOUR_MS);
    for (const more of [{}, { username: "ada" }, { username: "somebody" }])
      expect(await register(careful, ADA, more)).toEqual(await register(careful, NOBODY, more));
  });

  test("gets the same response to a request for a mail, whatever email it names", async () => {
    const { ask, verifiedUser, superuser, newUser } = await frozenWorld();
    await verifiedUser();
    const off = await newUser("off@example.com");
    await (await superuser()).patch(`/users/${off.id}`, { is_active: false });
    for (const path of ["password/forgot", "email/verify/resend", "email-code"])
      for (let number = 0; number < 4; number += 1) {
        const [known, ...others] = await Promise.all(
          [ADA, "off@example.com", NOBODY].map((email) =>
            ask(`POST /api/v1/auth/${path}`, { email }),
          ),
        );
        expect(known).toMatchObject({ status: number < 3 ? 202 : 429 });
        for (const other of others) expect(other).toEqual(known as never);
      }
    // The page counts together with the API.
    setSystemTime(MORNING + HOUR_MS);
    const page = (email: string) => ask("POST /forgot-password", `email=${email}`);
    for (let number = 0; number < 4; number += 1)
      expect(await page(ADA)).toEqual(await page(NOBODY));
  });

  test("gets the same response to a mailed code that is wrong, whatever email it names", async () => {
    const { ask, verifiedUser, mails } = await frozenWorld();
    await verifiedUser();
    await ask("POST /api/v1/auth/email-code", { email: ADA });
    await mails();
    const guess = (email: string) =>
      ask("POST /api/v1/auth/email-code/verify", { email, code: "12345x" });
    for (let number = 0; number < 7; number += 1)
      expect(await guess(ADA)).toEqual(await guess(NOBODY));
  });

  test("gets the same response to a link that is made up, spent, expired, or of a deleted user", async () => {
    const { ask, newUser, tokenFor, forgot, pass, sql } = await frozenWorld();
    const tokens = async (email: string) => {
      await forgot(email);
      return tokenFor(email, "reset_password");
    };
    const [ada, bob, eve] = [
      await newUser(),
      await newUser("bob@example.com"),
      await newUser("eve@example.com"),
    ];
    const [old, gone] = [await tokens(ADA), await tokens("bob@example.com")];
    await bob.delete("/users/me");
    await sql`update one_time_secrets set expires_at = ${new Date(MORNING - HOUR_MS).toISOString()} where user_id = ${ada.id}`;
    pass(1_000);
    const spent = await tokens("eve@example.com");
    await ask("POST /api/v1/auth/password/reset", { token: spent, password: NEW });
    expect((await eve.get("/users/me")).status).toBe(401);
    const made = `ot_${"A".repeat(43)}`;
    const password = `&password=${PASSWORD}`;
    const fields: Record<string, string> = {
      "/verify-email": password,
      "/reset-password": password,
    };
    const requests: ((token: string) => ReturnType<typeof ask>)[] = [
      (token) => ask("POST /api/v1/auth/password/reset", { token, password: NEW }),
      (token) => ask("POST /api/v1/auth/email/verify", { token }),
      (token) => ask("POST /api/v1/auth/email-code/verify", { token }),
      ...LINK_PATHS.filter((path) => path !== "/forgot-password").flatMap((path) => [
        (token: string) => ask(`GET ${path}?token=${token}`),
        (token: string) => ask(`POST ${path}`, `token=${token}${fields[path] ?? ""}`),
      ]),
    ];
    for (const request of requests) {
      const known = await request(made);
      expect([400, 401, 422]).toContain(known.status);
      for (const token of [old, gone, spent]) expect(await request(token)).toEqual(known);
    }
  });
});
