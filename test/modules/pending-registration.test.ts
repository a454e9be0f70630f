import { expect, test } from "bun:test";
import { Problem } from "../../src/kit/problem.ts";
import { NEW, verifyingWorld } from "../support/mail-world.ts";
import type { Answer } from "../support/world.ts";
import { PASSWORD } from "../support/world.ts";

const DAY_MS = 86_400_000;

const shown = ({ status, body, headers }: Answer) => [
  status,
  body,
  [...headers].filter(([name]) => name !== "x-request-id"),
];

test("registering gets the same response for a new email, a verified one, and one that is registered but not verified", async () => {
  const { register, mails, tokenFor, verify, anonymous } = await verifyingWorld({
    rateLimit: "on",
  });
  const first = await register("ada@example.com");
  expect([first.status, Object.keys(first.body)]).toEqual([202, ["detail"]]);
  await verify({ token: await tokenFor("ada@example.com", "verify_email"), password: PASSWORD });
  await register("bob@example.com");
  const before = (await mails()).length;
  const answers = [
    await register("ADA@example.com", { username: "else", password: NEW }),
    await register("bob@example.com", { username: "else", password: NEW }),
    await register("new@example.com", { username: "else", password: NEW }),
  ].map(shown);
  // Each is one more registration from one IP, which its remaining count shows; nothing else
  // differs.
  const alike = answers.map((one) => JSON.stringify(one).replace(/r=\d+/, ""));
  expect(new Set(alike).size).toBe(1);
  expect((await mails()).slice(0, -before)).toEqual([
    "verify_email new@example.com",
    "verify_email bob@example.com",
    "registration_attempt ada@example.com",
  ]);
  // What another person registered changes nothing of an existing user.
  const answer = await anonymous.post("/auth/login", { username: "ada", password: NEW });
  expect(answer.status).toBe(401);
});

test("one email gets three mails in 15 minutes from all clients together, and a weak password consumes none", async () => {
  const { register } = await verifyingWorld({ rateLimit: "on" });
  for (let at = 0; at < 4; at += 1)
    expect((await register("ada@example.com", { password: "password" })).status).toBe(422);
  const statuses = [];
  for (let at = 0; at < 4; at += 1) statuses.push((await register("ada@example.com")).status);
  expect(statuses).toEqual([202, 202, 202, 429]);
});

test("nobody can sign in before verification, and only a caller with the password learns why", async () => {
  const { register, anonymous, tokenFor, verify, send } = await verifyingWorld({
    oauthPasswordGrant: "on",
  });
  await register("ada@example.com");
  const logIn = (password: string) =>
    anonymous.post("/auth/login", { username: "ada@example.com", password });
  expect((await logIn("wrong password")).body.code).toBe("invalid_credentials");
  const early = await logIn(PASSWORD);
  expect([early.status, early.body.code]).toEqual([403, "email_not_verified"]);
  const grant = await send("POST", "/oauth/token", {
    headers: { "content-type": "application/x-www-form-urlencoded" },
    body: new URLSearchParams({
      grant_type: "password",
      username: "ada@example.com",
      password: PASSWORD,
    }).toString(),
  });
  expect([grant.status, grant.body.error]).toEqual([400, "invalid_grant"]);
  const token = await tokenFor("ada@example.com", "verify_email");
  expect((await verify({ token, password: PASSWORD })).status).toBe(204);
  expect((await logIn(PASSWORD)).status).toBe(200);
});

test("a registration is no user and reserves no username; a verified one gets the wanted name or a similar one", async () => {
  const { register, tokenFor, verify, newUser, sql, ctx } = await verifyingWorld();
  await register("ada@example.com", { username: "countess" });
  await register("bob@example.com");
  expect(await sql`select 1 from users`).toHaveLength(0);
  Object.assign(ctx, { config: { ...ctx.config, requireEmailVerification: "off" } });
  const bob = await newUser("bob@example.org");
  expect(bob.user["username"]).toBe("bob");
  for (const email of ["ada@example.com", "bob@example.com"])
    await verify({ token: await tokenFor(email, "verify_email"), password: PASSWORD });
  const names = await sql`select username from users order by created_at, id`;
  expect(names.map((row) => row["username"])).toEqual([
    "bob",
    "countess",
    expect.stringMatching(/^bob-[0-9a-f]{6}$/),
  ]);
});

test("a person who registered another person's email first keeps nothing of it", async () => {
  const { register, forgot, reset, tokenFor, logIn, sql } = await verifyingWorld();
  const profile = { full_name: "Call 555-0100", locale: "de", username: "hacked" };
  await register("ada@example.com");
  await register("ada@example.com", { password: NEW, ...profile });
  await forgot("ada@example.com");
  const chosen = "a phrase of the owner";
  const token = await tokenFor("ada@example.com", "reset_password");
  expect((await reset(token, chosen)).status).toBe(204);
  const all = [PASSWORD, NEW, chosen].map((password) => logIn(password, "ada@example.com"));
  expect(await Promise.all(all)).toEqual([401, 401, 200]);
  expect(await sql`select username, full_name, locale from users`).toMatchObject([
    { username: "ada", full_name: null, locale: null },
  ]);
});

test("registering and then signing in with the same password reveals no more", async () => {
  const here = await verifyingWorld();
  const { register, anonymous, verify, tokenFor, superuser, ctx, newUser } = here;
  await register("verified@example.com");
  const token = await tokenFor("verified@example.com", "verify_email");
  await verify({ token, password: PASSWORD });
  await register("waiting@example.com");
  // Created while emails need not be verified; one of them is deactivated.
  Object.assign(ctx, { config: { ...ctx.config, requireEmailVerification: "off" } });
  await newUser("older@example.com");
  const root = await superuser();
  const gone = await newUser("gone@example.com");
  await root.patch(`/users/${gone.id}`, { is_active: false });
  Object.assign(ctx, { config: { ...ctx.config, requireEmailVerification: "on" } });
  const logIn = async (username: string, password: string) =>
    (await anonymous.post("/auth/login", { username, password })).body.code ?? "token";
  const names = ["verified", "waiting", "older", "gone", "new"];
  for (const password of ["the first phrase", "the second phrase"])
    for (const name of names) await register(`${name}@example.com`, { password });
  for (const name of names) {
    const email = `${name}@example.com`;
    const said = [
      await logIn(email, "the second phrase"),
      await logIn(email, "the first phrase"),
      await logIn(email, "another phrase"),
    ];
    expect([name, ...said]).toEqual([
      name,
      "email_not_verified",
      "invalid_credentials",
      "invalid_credentials",
    ]);
  }
  expect(await logIn("verified@example.com", PASSWORD)).toBe("token");
});

test("unusual spellings are read the same way for every email", async () => {
  const { register, sql } = await verifyingWorld();
  const odd = { username: " countess ", full_name: "  Ada  ", locale: "EN-gb" };
  for (let at = 0; at < 2; at += 1)
    expect((await register("ada@example.com", odd)).status).toBe(202);
  const read = { username: "countess", full_name: "Ada", locale: "en-GB" };
  expect(await sql`select username, full_name, locale from registrations`).toMatchObject([
    read,
    read,
  ]);
});

test("a registration that failed because the server is busy consumes none of the email's mails", async () => {
  const { register, ctx } = await verifyingWorld({ rateLimit: "on" });
  const { hashing } = ctx;
  const busy = async (): Promise<never> => {
    throw new Problem("busy");
  };
  Object.assign(ctx, { hashing: { ...hashing, run: busy } });
  for (let at = 0; at < 4; at += 1) expect((await register("ada@example.com")).status).toBe(503);
  Object.assign(ctx, { hashing });
  expect((await register("ada@example.com")).status).toBe(202);
});

test("using up the mails of one kind for an email does not block another kind", async () => {
  const { register, anonymous } = await verifyingWorld({ rateLimit: "on" });
  for (let at = 0; at < 4; at += 1) await register("ada@example.com");
  const forgot = await anonymous.post("/auth/password/forgot", { email: "ada@example.com" });
  expect(forgot.status).toBe(202);
  // Only a refusal shows what others do with an email.
  expect(forgot.headers.get("ratelimit")).not.toContain("mail-account");
});

test("invalid input is refused as usual", async () => {
  const { register, mails } = await verifyingWorld();
  for (const body of [{ username: "a b" }, { password: "short" }, { is_superuser: true }])
    expect((await register("ada@example.com", body)).status).toBe(422);
  expect(await mails()).toEqual([]);
});

/** A careful world in which one password is registered with a verified email and with a new one. */
async function bothRegistered() {
  const here = await verifyingWorld();
  const { register, verify, tokenFor, anonymous } = here;
  const emails = ["ada@example.com", "new@example.com"];
  await register("ada@example.com");
  await verify({ token: await tokenFor("ada@example.com", "verify_email"), password: PASSWORD });
  for (const email of emails) await register(email, { password: NEW });
  const request = async (path: string) => {
    for (const email of emails) await anonymous.post(path, { email });
    await here.mails();
  };
  const logIns = async () => {
    const answers = [];
    for (const username of emails)
      answers.push((await anonymous.post("/auth/login", { username, password: NEW })).body.code);
    return answers;
  };
  return { ...here, request, logIns };
}

test("requests for reset links do not change what a sign-in reveals of an email", async () => {
  const { request, logIns } = await bothRegistered();
  for (let at = 0; at < 11; at += 1) await request("/auth/password/forgot");
  expect(await logIns()).toEqual(["email_not_verified", "email_not_verified"]);
});

test("a registration is accepted for a week at a sign-in, also if its link was mailed again", async () => {
  const { request, logIns, pass } = await bothRegistered();
  pass(6 * DAY_MS);
  await request("/auth/email/verify/resend");
  expect(await logIns()).toEqual(["email_not_verified", "email_not_verified"]);
  pass(DAY_MS + 1_000);
  expect(await logIns()).toEqual(["invalid_credentials", "invalid_credentials"]);
});

test("registering an email waits for no lock on its user, and a job sends the mail", async () => {
  const { register, sql, mails } = await bothRegistered();
  const before = (await mails()).length;
  await sql.begin(async (tx) => {
    await tx`select 1 from users for update`;
    expect((await register("ada@example.com")).status).toBe(202);
  });
  expect((await mails()).slice(0, -before)).toEqual(["registration_attempt ada@example.com"]);
});
