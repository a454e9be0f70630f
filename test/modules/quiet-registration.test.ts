import { expect, test } from "bun:test";
import { NEW, town } from "../support/town.ts";
import type { Answer } from "../support/world.ts";
import { PASSWORD } from "../support/world.ts";

/** A town in which addresses must be proven before anybody signs in. */
async function carefulTown(settings: Parameters<typeof town>[0] = {}) {
  const here = await town({ requireEmailVerification: "on", ...settings });
  const register = (email: string, more: object = {}) =>
    here.anyone.post("/auth/register", { email, password: PASSWORD, ...more });
  return { ...here, register };
}

const shown = ({ status, body, headers }: Answer) => [
  ...[status, body],
  [...headers].filter(([name]) => name !== "x-request-id"),
];

test("registering answers the same for an address that is new, known, or registered but not proven", async () => {
  const { register, mails, tokenFor, verify, anyone } = await carefulTown({ rateLimit: "on" });
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
  // Each counts one more registration of one address; nothing else tells them apart.
  const alike = answers.map((one) => JSON.stringify(one).replaceAll(/"register\\";r=\d+/g, ""));
  expect(new Set(alike.map((one) => one.replaceAll(/r=\d+/g, ""))).size).toBe(1);
  expect((await mails()).slice(0, -before)).toEqual([
    "verify_email new@example.com",
    "verify_email bob@example.com",
    "registration_attempt ADA@example.com".replace("ADA", "ada"),
  ]);
  // What somebody else wrote changes nothing of an account that is there.
  const answer = await anyone.post("/auth/login", { username: "ada", password: NEW });
  expect(answer.status).toBe(401);
});

test("one mail address is written to three times in a quarter of an hour, whoever registers it, and a weak password costs none of them", async () => {
  const { register } = await carefulTown({ rateLimit: "on" });
  for (let at = 0; at < 4; at += 1)
    expect((await register("ada@example.com", { password: "password" })).status).toBe(422);
  const statuses = [];
  for (let at = 0; at < 4; at += 1) statuses.push((await register("ada@example.com")).status);
  expect(statuses).toEqual([202, 202, 202, 429]);
});

test("nobody signs in before, and only who knows the password learns why", async () => {
  const { register, anyone, tokenFor, verify, send } = await carefulTown({
    oauthPasswordGrant: "on",
  });
  await register("ada@example.com");
  const logIn = (password: string) =>
    anyone.post("/auth/login", { username: "ada@example.com", password });
  expect((await logIn("wrong password")).body.code).toBe("invalid_credentials");
  const early = await logIn(PASSWORD);
  expect([early.status, early.body.code]).toEqual([403, "email_not_verified"]);
  const grant = await send("POST", "/oauth/token", {
    headers: { "content-type": "application/x-www-form-urlencoded" },
    body: new URLSearchParams({
      ...{ grant_type: "password", username: "ada@example.com", password: PASSWORD },
    }).toString(),
  });
  expect([grant.status, grant.body.error]).toEqual([400, "invalid_grant"]);
  const token = await tokenFor("ada@example.com", "verify_email");
  expect((await verify({ token, password: PASSWORD })).status).toBe(204);
  expect((await logIn(PASSWORD)).status).toBe(200);
});

test("no username is taken before, so that none tells who is registered; then it is what was wanted, or like it", async () => {
  const { register, tokenFor, verify, person, sql, ctx } = await carefulTown();
  await register("ada@example.com", { username: "countess" });
  await register("bob@example.com");
  const names = async () =>
    (await sql`select username from users order by created_at, id`).map((row) => row["username"]);
  expect(await names()).toEqual([
    expect.stringMatching(/^user-[0-9a-f]{12}$/),
    expect.stringMatching(/^user-[0-9a-f]{12}$/),
  ]);
  Object.assign(ctx, { config: { ...ctx.config, requireEmailVerification: "off" } });
  const bob = await person("bob@example.org");
  expect(bob.user["username"]).toBe("bob");
  for (const email of ["ada@example.com", "bob@example.com"])
    await verify({ token: await tokenFor(email, "verify_email"), password: PASSWORD });
  expect(await names()).toEqual(["countess", expect.stringMatching(/^bob-[0-9a-f]{6}$/), "bob"]);
});

test("whoever registered first with somebody else's address keeps nothing of it", async () => {
  const { register, forgot, reset, tokenFor, logIn } = await carefulTown();
  await register("ada@example.com");
  await register("ada@example.com", { password: NEW });
  await forgot("ada@example.com");
  const chosen = "what she chose herself";
  const token = await tokenFor("ada@example.com", "reset_password");
  expect((await reset(token, chosen)).status).toBe(204);
  const all = [PASSWORD, NEW, chosen].map((password) => logIn(password, "ada@example.com"));
  expect(await Promise.all(all)).toEqual([401, 401, 200]);
});

test("what does not fit is refused as ever", async () => {
  const { register, mails } = await carefulTown();
  for (const body of [{ username: "a b" }, { password: "short" }, { is_superuser: true }])
    expect((await register("ada@example.com", body)).status).toBe(422);
  expect(await mails()).toEqual([]);
});
