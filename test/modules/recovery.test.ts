import { describe, expect, setSystemTime, test } from "bun:test";
import { answerLinkRequests } from "../../src/modules/emails/requests.ts";
import { purgeLinks } from "../../src/modules/links/links.ts";
import { listMails } from "../../src/modules/mail/mail.ts";
import { mailWorld, NEW } from "../support/mail-world.ts";
import { countOf, ipOf, proxiedWorld } from "../support/proxied-world.ts";
import { PASSWORD } from "../support/world.ts";

describe("a forgotten password", () => {
  test("is reset by a mailed link, once, which ends every session and notifies the user", async () => {
    const { newUser, forgot, reset, tokenFor, logIn, refresh, ctx, as } = await mailWorld();
    const ada = await newUser();
    expect((await forgot("ADA@example.com")).status).toBe(202);
    const token = await tokenFor("ada@example.com", "reset_password");
    expect((await reset(token, "short")).body.errors).toMatchObject([
      { pointer: "/password", code: "too_short" },
    ]);
    expect((await reset(token)).status).toBe(204);
    expect((await ada.get("/users/me")).status).toBe(401);
    expect((await refresh(ada.refreshToken)).status).toBe(401);
    expect([await logIn(PASSWORD), await logIn(NEW)]).toEqual([401, 200]);
    expect((await reset(token)).body.code).toBe("invalid_link");
    const { body } = await as().post("/auth/login", { username: "ada", password: NEW });
    expect((await as(body.access_token).get("/users/me")).body.email_verified).toBe(true);
    expect((await listMails(ctx)).map(({ kind }) => kind)).toContain("password_changed");
  });

  test("of an unknown email gets the same response, and no mail", async () => {
    const { newUser, forgot, ctx } = await mailWorld({ rateLimit: "on" });
    await newUser();
    const before = (await listMails(ctx)).length;
    const [known, unknown] = [await forgot("ada@example.com"), await forgot("nobody@example.com")];
    const shown = ({ status, body, headers }: typeof known) => [
      status,
      body,
      [...headers].filter(([name]) => name !== "x-request-id"),
    ];
    expect(shown(known)).toEqual(shown(unknown));
    expect(await answerLinkRequests(ctx)).toBe(2);
    expect((await listMails(ctx)).length - before).toBe(1);
    for (const email of ["ada@example.com", "nobody@example.com"]) {
      const statuses = [];
      for (let at = 0; at < 3; at += 1) statuses.push((await forgot(email)).status);
      expect(statuses).toEqual([202, 202, 429]);
    }
  });

  test("is reset once by fifty concurrent requests", async () => {
    const { newUser, forgot, reset, tokenFor, ctx } = await mailWorld();
    await newUser();
    // This tests a race in the database, not in hashing.
    const hashing = { ...ctx.hashing, pass: async <T>() => "$argon2id$fake" as T };
    Object.assign(ctx, { hashing });
    for (let round = 0; round < 20; round += 1) {
      await forgot("ada@example.com");
      const token = await tokenFor("ada@example.com", "reset_password");
      const answers = await Promise.all(Array.from({ length: 50 }, () => reset(token)));
      expect(answers.filter(({ status }) => status === 204)).toHaveLength(1);
      expect(answers.filter(({ status }) => ![204, 400].includes(status))).toEqual([]);
    }
  });

  test("cannot be reset by an expired or truncated link, or one for another purpose or email", async () => {
    const { newUser, forgot, reset, tokenFor, tokensFor, logIn, sql, ctx } = await mailWorld();
    const ada = await newUser();
    await forgot("ada@example.com");
    const token = await tokenFor("ada@example.com", "reset_password");
    const verify = await tokenFor("ada@example.com", "verify_email");
    for (const bad of [token.slice(0, -1), `${token}A`, verify, "ot_", "x", `${token}\u0301`]) {
      const answer = await reset(bad);
      expect([bad, answer.status, answer.body.code]).toEqual([bad, 400, "invalid_link"]);
    }
    await sql`update users set email_key = 'other@example.com' where id = ${ada.id}`;
    expect((await reset(token)).body.code).toBe("invalid_link");
    await sql`update users set email_key = 'ada@example.com' where id = ${ada.id}`;
    for (let at = 0; at < 3; at += 1) await forgot("ada@example.com");
    expect(await tokensFor("ada@example.com", "reset_password")).toHaveLength(4);
    // At most three are valid: the first of four is not.
    expect((await reset(token)).body.code).toBe("invalid_link");
    const last = await tokenFor("ada@example.com", "reset_password");
    setSystemTime(Date.now() + 3_601_000);
    expect((await reset(last)).body.code).toBe("invalid_link");
    expect(await purgeLinks(ctx)).toBe(3);
    expect(await logIn(PASSWORD)).toBe(200);
  });

  test("invalidates every other link that gives access", async () => {
    const here = await mailWorld({ emailSignIn: "on" });
    const ada = await here.verifiedUser();
    await here.anonymous.post("/auth/email-code", { email: "ada@example.com" });
    await here.forgot("ada@example.com");
    await here.forgot("ada@example.com");
    const signIn = await here.tokenFor("ada@example.com", "sign_in");
    const [used = "", other = ""] = await here.tokensFor("ada@example.com", "reset_password");
    expect((await here.reset(used)).status).toBe(204);
    expect((await here.reset(other)).body.code).toBe("invalid_link");
    const entered = await here.anonymous.post("/auth/email-code/verify", { token: signIn });
    expect([entered.body.code, (await ada.get("/users/me")).status]).toEqual(["invalid_link", 401]);
  });

  test("no token is stored in clear text", async () => {
    const { newUser, forgot, tokenFor, sql } = await mailWorld();
    await newUser();
    await forgot("ada@example.com");
    const token = await tokenFor("ada@example.com", "reset_password");
    const rows = JSON.stringify([
      await sql`select *, encode(hash, 'escape') from one_time_secrets`,
      await sql`select *, encode(sealed, 'escape') from mails`,
      await sql`select * from events`,
    ]);
    expect(rows).not.toContain(token.slice(3));
  });
});

describe("an email is verified", () => {
  test("by the link that registration mails, with the password or while signed in", async () => {
    const here = await mailWorld();
    for (const [email, proof] of [
      ["ada@example.com", "password"],
      ["bob@example.com", "session"],
    ] as const) {
      const one = await here.newUser(email);
      const token = await here.tokenFor(email, "verify_email");
      const wrong = await here.verify({ token, password: "not the password" });
      expect(wrong.body.code).toBe("invalid_credentials");
      const right = proof === "password" ? { token, password: PASSWORD } : { token };
      const answer = await here.verify(right, proof === "session" ? one.token : "");
      expect(answer.status).toBe(204);
      const me = await one.get("/users/me");
      expect([me.status, me.body.email_verified]).toEqual([200, true]);
      expect((await here.verify(right)).body.code).toBe("invalid_link");
    }
  });

  test("by its owner, if another person registered it: that person is signed out, and the password is dropped", async () => {
    const here = await mailWorld();
    const attacker = await here.newUser("ada@example.com");
    const bob = await here.newUser("bob@example.com");
    const token = await here.tokenFor("ada@example.com", "verify_email");
    // Another user's session proves nothing about this user.
    expect((await here.verify({ token }, bob.token)).status).toBe(204);
    expect((await attacker.get("/users/me")).status).toBe(401);
    expect((await here.refresh(attacker.refreshToken)).status).toBe(401);
    expect(await here.logIn(PASSWORD)).toBe(401);
    await here.forgot("ada@example.com");
    const link = await here.tokenFor("ada@example.com", "reset_password");
    expect((await here.reset(link)).status).toBe(204);
    expect(await here.logIn(NEW)).toBe(200);
  });

  test("never by an expired token: then nothing happens, and the link stays valid", async () => {
    const here = await mailWorld();
    const one = await here.newUser();
    const token = await here.tokenFor("ada@example.com", "verify_email");
    here.pass(16 * 60_000);
    const late = await here.verify({ token }, one.token);
    expect([late.status, late.body.code]).toEqual([401, "invalid_token"]);
    expect(await here.logIn(PASSWORD)).toBe(200);
    expect((await here.verify({ token, password: PASSWORD })).status).toBe(204);
  });

  test("again only while it is unverified: a link that is requested twice is sent twice", async () => {
    const here = await mailWorld();
    await here.newUser();
    const resend = () =>
      here.anonymous.post("/auth/email/verify/resend", { email: "ada@example.com" });
    expect((await resend()).status).toBe(202);
    const tokens = await here.tokensFor("ada@example.com", "verify_email");
    expect(tokens).toHaveLength(2);
    await here.verify({ token: tokens[1], password: PASSWORD });
    expect((await here.verify({ token: tokens[0] })).body.code).toBe("invalid_link");
    await resend();
    expect(await here.tokensFor("ada@example.com", "verify_email")).toHaveLength(2);
  });
});

test("made-up links are limited by IP, on every route", async () => {
  const requests = { quota: 20, refill: 20, periodSeconds: 60 };
  const here = await proxiedWorld({ "requests-anonymous": requests });
  const token = "ot_made-up";
  const ways = [
    (from: string) => here.post("password/reset", from, { token, password: NEW }),
    (from: string) => here.post("email/verify", from, { token }),
    (from: string) =>
      here.send("GET", `/reset-password?token=${token}`, { headers: { "x-forwarded-for": from } }),
  ];
  for (const [at, way] of ways.entries()) {
    const answers = await Promise.all(Array.from({ length: 25 }, () => way(ipOf(at))));
    expect([countOf(answers, 400), countOf(answers, 429)]).toEqual([20, 5]);
  }
});

describe("the page of a mailed link", () => {
  test("works without a script, and its form redeems the link, not opening it", async () => {
    const here = await mailWorld();
    await here.newUser();
    const asking = await here.send("GET", "/.well-known/change-password");
    expect([asking.status, asking.headers.get("location")]).toEqual([302, "/forgot-password"]);
    expect((await here.send("GET", "/forgot-password")).body).toContain('type="email"');
    for (const email of ["ada@example.com", "nobody@example.com"]) {
      const asked = await here.form("/forgot-password", { email });
      expect([asked.status, asked.body]).toEqual([202, expect.stringContaining("we sent a link")]);
    }
    const token = await here.tokenFor("ada@example.com", "reset_password");
    for (let at = 0; at < 3; at += 1) {
      const opened = await here.send("GET", `/reset-password?token=${token}`);
      expect([opened.status, opened.body]).toEqual([200, expect.stringContaining("<form")]);
      expect(opened.headers.get("content-security-policy")).toContain("default-src 'none'");
      expect(opened.body).not.toContain("<script");
    }
    const weak = await here.form("/reset-password", { token, password: "password" });
    expect([weak.status, weak.body]).toEqual([422, expect.stringContaining('role="alert"')]);
    const set = await here.form("/reset-password", { token, password: NEW });
    expect([set.status, set.body]).toEqual([200, expect.stringContaining("is set")]);
    expect(await here.logIn(NEW)).toBe(200);
    const gone = await here.send("GET", `/reset-password?token=${token}`);
    expect([gone.status, gone.body]).toEqual([400, expect.stringContaining("no longer valid")]);
    expect((await here.send("GET", '/reset-password?token="><script>')).body).not.toContain(
      "<script>",
    );
  });

  test("verifies an email with the password, or reports that it was not me", async () => {
    const here = await mailWorld();
    await here.newUser();
    const token = await here.tokenFor("ada@example.com", "verify_email");
    expect((await here.form("/verify-email", { token })).status).toBe(401);
    const wrong = await here.form("/verify-email", { token, password: "wrong" });
    expect(wrong.status).toBe(401);
    const right = await here.form("/verify-email", { token, password: PASSWORD });
    expect([right.status, right.body]).toEqual([200, expect.stringContaining("is verified")]);
    const bob = await here.newUser("bob@example.com");
    const other = await here.tokenFor("bob@example.com", "verify_email");
    expect((await here.form("/verify-email", { token: other, intent: "disown" })).status).toBe(200);
    expect((await bob.get("/users/me")).status).toBe(401);
    const [row] = await here.sql`select email_verified from users where id = ${bob.id}`;
    expect(row?.["email_verified"]).toBe(false);
  });
});
