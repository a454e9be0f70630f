import { expect, test } from "bun:test";
import { policies } from "../../src/limits/policies.ts";
import { purgeRegistrations } from "../../src/modules/registration/registration.ts";
import { NEW, verifyingWorld } from "../support/mail-world.ts";
import { PASSWORD } from "../support/world.ts";

const DAY_MS = 86_400_000;

test("each registration has its own link; the first one that is used counts, and ends the others", async () => {
  const { register, tokensFor, verify, logIn, sql } = await verifyingWorld();
  await register("ada@example.com", { username: "first", full_name: "Ada" });
  await register("ada@example.com", { username: "second", password: NEW });
  const [second, first] = await tokensFor("ada@example.com", "verify_email");
  expect((await verify({ token: second, password: PASSWORD })).status).toBe(401);
  expect((await verify({ token: first, password: PASSWORD })).status).toBe(204);
  expect((await verify({ token: second, password: NEW })).body.code).toBe("invalid_link");
  expect([await logIn(PASSWORD, "first"), await logIn(NEW, "first")]).toEqual([200, 401]);
  expect(await sql`select full_name, email_verified from users`).toMatchObject([
    { full_name: "Ada", email_verified: true },
  ]);
  expect(await sql`select 1 from registrations`).toHaveLength(0);
});

test("of two links that are used concurrently, one creates the user", async () => {
  const { register, tokensFor, verify, sql } = await verifyingWorld();
  for (let at = 0; at < 4; at += 1) await register("ada@example.com", { username: `ada${at}` });
  const tokens = await tokensFor("ada@example.com", "verify_email");
  const used = tokens.map((token) => verify({ token, password: PASSWORD }));
  const codes = (await Promise.all(used)).map(({ body }) => body.code);
  expect(codes.filter((code) => code === undefined)).toHaveLength(1);
  expect(codes.filter((code) => code === "invalid_link")).toHaveLength(3);
  expect(await sql`select 1 from users`).toHaveLength(1);
});

test("the link alone makes a user without password and profile", async () => {
  const { register, tokenFor, verify, logIn, forgot, reset, sql } = await verifyingWorld();
  await register("ada@example.com", { username: "hacked", full_name: "Call 555-0100" });
  const token = await tokenFor("ada@example.com", "verify_email");
  expect((await verify({ token })).status).toBe(204);
  expect(await logIn(PASSWORD, "ada@example.com")).toBe(401);
  expect(await sql`select username, full_name from users`).toMatchObject([
    { username: "ada", full_name: null },
  ]);
  await forgot("ada@example.com");
  await reset(await tokenFor("ada@example.com", "reset_password"));
  expect(await logIn(NEW, "ada")).toBe(200);
});

test("a link is mailed again for the latest registration, and the earlier ones stay valid", async () => {
  const { register, anonymous, mails, tokensFor, verify, logIn } = await verifyingWorld();
  await register("ada@example.com");
  expect(
    (await anonymous.post("/auth/email/verify/resend", { email: "Ada@example.com" })).status,
  ).toBe(202);
  expect(await mails()).toEqual(["verify_email ada@example.com", "verify_email ada@example.com"]);
  const [, earlier] = await tokensFor("ada@example.com", "verify_email");
  expect((await verify({ token: earlier, password: PASSWORD })).status).toBe(204);
  expect(await logIn(PASSWORD)).toBe(200);
});

test("a link is valid for a day, and can be mailed again for a week", async () => {
  const { register, anonymous, pass, tokenFor, verify, mails } = await verifyingWorld();
  await register("ada@example.com");
  const token = await tokenFor("ada@example.com", "verify_email");
  pass(DAY_MS + 1_000);
  expect((await verify({ token, password: PASSWORD })).body.code).toBe("invalid_link");
  pass(5 * DAY_MS);
  await anonymous.post("/auth/email/verify/resend", { email: "ada@example.com" });
  const next = await tokenFor("ada@example.com", "verify_email");
  expect((await verify({ token: next, password: PASSWORD })).status).toBe(204);
  await register("bob@example.com");
  pass(7 * DAY_MS + 1_000);
  const before = (await mails()).length;
  await anonymous.post("/auth/email/verify/resend", { email: "bob@example.com" });
  expect(await mails()).toHaveLength(before);
});

test("the page of a link verifies a registration, and a second click succeeds as well", async () => {
  const { register, tokensFor, form, send, sql } = await verifyingWorld();
  await register("ada@example.com", { locale: "de" });
  await register("ada@example.com", { password: NEW });
  const [other = "", token = ""] = await tokensFor("ada@example.com", "verify_email");
  const page = await send("GET", `/verify-email?token=${token}`);
  expect([page.status, page.body.includes("ada@example.com")]).toEqual([200, true]);
  for (let at = 0; at < 2; at += 1)
    expect((await form("/verify-email", { token: other, intent: "disown" })).status).toBe(200);
  expect((await form("/verify-email", { token: other, password: NEW })).status).toBe(401);
  expect((await form("/verify-email", { token, password: "wrong password" })).status).toBe(401);
  for (let at = 0; at < 2; at += 1)
    expect((await form("/verify-email", { token, password: PASSWORD })).status).toBe(200);
  expect(await sql`select locale, email_verified from users`).toMatchObject([
    { locale: "de", email_verified: true },
  ]);
});

test("a registration whose email a user has by now cannot be verified", async () => {
  const { register, tokenFor, verify, newUser, ctx, sql } = await verifyingWorld();
  await register("ada@example.com");
  const token = await tokenFor("ada@example.com", "verify_email");
  Object.assign(ctx, { config: { ...ctx.config, requireEmailVerification: "off" } });
  await newUser("ada@example.com", NEW);
  expect((await verify({ token, password: PASSWORD })).body.code).toBe("invalid_link");
  expect(await sql`select 1 from users`).toHaveLength(1);
});

test("a later registration changes nothing of an earlier one", async () => {
  const { register, tokenFor, verify, logIn, ctx } = await verifyingWorld();
  await register("ada@example.com");
  const token = await tokenFor("ada@example.com", "verify_email");
  const { hashing } = ctx;
  let isFirst = true;
  const run = async <T>(work: () => Promise<T>): Promise<T> => {
    const done = await hashing.run(work);
    if (isFirst) {
      isFirst = false;
      await register("ada@example.com", { password: NEW });
    }
    return done;
  };
  Object.assign(ctx, { hashing: { ...hashing, run } });
  expect((await verify({ token, password: PASSWORD })).status).toBe(204);
  expect([await logIn(PASSWORD), await logIn(NEW)]).toEqual([200, 401]);
});

test("if emails need not be verified any more, the registered password signs in", async () => {
  const { register, anonymous, pass, ctx, logIn, as, mails, tokenFor, verify } =
    await verifyingWorld();
  const turn = (requireEmailVerification: "on" | "off") =>
    Object.assign(ctx, { config: { ...ctx.config, requireEmailVerification } });
  await register("ada@example.com", { username: "countess" });
  turn("off");
  expect(await logIn(NEW, "ada@example.com")).toBe(401);
  const { body } = await anonymous.post("/auth/login", {
    username: "ada@example.com",
    password: PASSWORD,
  });
  const me = (await as(body.access_token).get("/users/me")).body;
  expect([me.username, me.email_verified]).toEqual(["countess", false]);
  expect((await mails())[0]).toBe("verify_email ada@example.com");
  turn("on");
  await register("ada@example.com", { password: NEW });
  pass(8 * DAY_MS);
  expect(await purgeRegistrations(ctx)).toBe(1);
  expect((await as(body.access_token).get("/users/me")).status).toBe(401);
  turn("off");
  expect([await logIn(PASSWORD, "countess"), await logIn(NEW, "countess")]).toEqual([200, 401]);
  await anonymous.post("/auth/email/verify/resend", { email: "ada@example.com" });
  const token = await tokenFor("ada@example.com", "verify_email");
  expect((await verify({ token, password: PASSWORD })).status).toBe(204);
});

test("a registration that is not verified for a week is deleted, and a user is not", async () => {
  const { register, pass, ctx, sql, verifiedUser } = await verifyingWorld();
  await register("ada@example.com");
  pass(6 * DAY_MS);
  await register("bob@example.com");
  expect(await purgeRegistrations(ctx)).toBe(0);
  pass(DAY_MS + 1_000);
  expect(await purgeRegistrations(ctx)).toBe(1);
  expect(await sql`select email from registrations`).toMatchObject([{ email: "bob@example.com" }]);
  Object.assign(ctx, { config: { ...ctx.config, requireEmailVerification: "off" } });
  await verifiedUser("carla@example.com");
  pass(30 * DAY_MS);
  while ((await purgeRegistrations(ctx)) > 0);
  expect(await sql`select email from users`).toMatchObject([{ email: "carla@example.com" }]);
});

test("at most ten links of an email are valid", async () => {
  const { register, sql } = await verifyingWorld();
  for (let at = 0; at < 12; at += 1) await register("ada@example.com");
  expect(await sql`select 1 from registrations`).toHaveLength(10);
});

test("a link that was mailed stays valid when further mails are not sent", async () => {
  const policy = { quota: 1_000, refill: 1_000, periodSeconds: 900 };
  const limits = { ...policies, "mail-account": policy, "mail-address": policy };
  const { register, anonymous, tokenFor, verify, mails } = await verifyingWorld({
    rateLimit: "on",
    limits,
  });
  await register("ada@example.com");
  const token = await tokenFor("ada@example.com", "verify_email");
  for (let at = 0; at < 9; at += 1)
    await anonymous.post("/auth/email/verify/resend", { email: "ada@example.com" });
  expect(await mails()).toHaveLength(10);
  for (let at = 0; at < 9; at += 1) {
    await anonymous.post("/auth/email/verify/resend", { email: "ada@example.com" });
    await register("ada@example.com", { password: NEW });
  }
  expect(await mails()).toHaveLength(10);
  expect((await verify({ token, password: PASSWORD })).status).toBe(204);
});

test("disowning a registration drops it with all its links", async () => {
  const { register, anonymous, tokensFor, form, sql } = await verifyingWorld();
  await register("ada@example.com", { full_name: "Call 555-0100" });
  await register("ada@example.com", { full_name: "Ada", password: NEW });
  await sql`update registrations set created_at = created_at - interval '1 second' where full_name = 'Ada'`;
  await anonymous.post("/auth/email/verify/resend", { email: "ada@example.com" });
  const tokens = await tokensFor("ada@example.com", "verify_email");
  expect(tokens).toHaveLength(3);
  const fields = { token: tokens.at(-1) ?? "", intent: "disown" };
  expect((await form("/verify-email", fields)).status).toBe(200);
  const left = await sql`select full_name from registrations where password_hash is not null`;
  expect([...left]).toEqual([{ full_name: "Ada" }]);
});

test("a registration is not kept longer because its link is mailed again, but the link stays valid", async () => {
  const { register, anonymous, pass, ctx, tokenFor, mails, send, sql } = await verifyingWorld();
  await register("ada@example.com");
  await mails();
  pass(7 * DAY_MS - 1_000);
  await anonymous.post("/auth/email/verify/resend", { email: "ada@example.com" });
  const token = await tokenFor("ada@example.com", "verify_email");
  pass(DAY_MS - 1_000);
  expect(await purgeRegistrations(ctx)).toBe(1);
  expect((await send("GET", `/verify-email?token=${token}`)).status).toBe(200);
  const before = (await mails()).length;
  await anonymous.post("/auth/email/verify/resend", { email: "ada@example.com" });
  expect(await mails()).toHaveLength(before);
  pass(2_000);
  expect(await purgeRegistrations(ctx)).toBe(1);
  expect(await sql`select 1 from registrations`).toHaveLength(0);
});

test("of concurrent sign-ins with the registered password one makes the user, if emails need not be verified any more", async () => {
  const { register, ctx, logIn, sql } = await verifyingWorld();
  await register("ada@example.com");
  Object.assign(ctx, { config: { ...ctx.config, requireEmailVerification: "off" } });
  const logIns = Array.from({ length: 5 }, () => logIn(PASSWORD, "ada@example.com"));
  // A sign-in that looked for the user before and for the registration after gets 401.
  const statuses = new Set(await Promise.all(logIns));
  expect(statuses).toContain(200);
  expect([...statuses].filter((status) => ![200, 401].includes(status))).toEqual([]);
  expect(await logIn(PASSWORD, "ada@example.com")).toBe(200);
  expect(await sql`select 1 from users`).toHaveLength(1);
});

test("while registration is closed, no waiting registration becomes a user", async () => {
  const { register, ctx, anonymous, tokenFor, verify, logIn, mails, sql } = await verifyingWorld();
  await register("ada@example.com");
  const token = await tokenFor("ada@example.com", "verify_email");
  const { config } = ctx;
  Object.assign(ctx, { config: { ...config, registration: "closed" } });
  expect((await verify({ token })).body.code).toBe("invalid_link");
  await anonymous.post("/auth/email/verify/resend", { email: "ada@example.com" });
  expect(await mails()).toHaveLength(1);
  for (const requireEmailVerification of ["on", "off"] as const) {
    Object.assign(ctx, { config: { ...ctx.config, requireEmailVerification } });
    expect(await logIn(PASSWORD, "ada@example.com")).toBe(401);
  }
  expect(await sql`select 1 from users`).toHaveLength(0);
  Object.assign(ctx, { config });
  expect((await verify({ token, password: PASSWORD })).status).toBe(204);
});
