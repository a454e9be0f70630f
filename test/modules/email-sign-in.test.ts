import { expect, setSystemTime, test } from "bun:test";
import { updateUser } from "../../src/modules/users/users.ts";
import { mailWorld } from "../support/mail-world.ts";
import { countOf, ipOf, proxiedWorld } from "../support/proxied-world.ts";
import { PASSWORD } from "../support/world.ts";

const ADA = "ada@example.com";

/** A world where users sign in by email. */
async function emailSignInWorld(settings: Parameters<typeof mailWorld>[0] = {}) {
  const here = await mailWorld({ emailSignIn: "on", ...settings });
  const ask = (email = ADA) => here.anonymous.post("/auth/email-code", { email });
  const enter = (proof: object) => here.anonymous.post("/auth/email-code/verify", proof);
  return { ...here, ask, enter };
}
const wrongCode = (code: string) => String((Number(code) + 1) % 1_000_000).padStart(6, "0");

test("the link or the code signs in once, and verifies the email", async () => {
  const { newUser, ask, enter, tokenFor, codeFor, as } = await emailSignInWorld();
  await newUser();
  expect((await ask()).status).toBe(202);
  const code = await codeFor(ADA);
  expect(code).toMatch(/^\d{6}$/);
  const spaced = `${code.slice(0, 3)} ${code.slice(3)}`;
  const { status, body, headers } = await enter({ email: "ADA@example.com", code: spaced });
  expect([status, headers.get("device-token")]).toEqual([200, expect.stringContaining("dt_")]);
  expect((await as(body.access_token).get("/users/me")).body.email_verified).toBe(true);
  expect((await enter({ email: ADA, code })).body.code).toBe("invalid_code");
  const spent = await tokenFor(ADA, "sign_in");
  expect((await enter({ token: spent })).body.code).toBe("invalid_link");
  await ask();
  const token = await tokenFor(ADA, "sign_in");
  expect((await enter({ token })).status).toBe(200);
  expect((await enter({ token })).body.code).toBe("invalid_link");
});

test("a code allows five attempts, also concurrent ones; its link still works", async () => {
  const { newUser, ask, enter, tokenFor, codeFor, ctx } = await emailSignInWorld();
  await newUser();
  await ask();
  const code = await codeFor(ADA);
  for (let at = 0; at < 5; at += 1)
    expect((await enter({ email: ADA, code: wrongCode(code) })).body.code).toBe("invalid_code");
  for (let at = 0; at < 5; at += 1)
    expect((await enter({ email: ADA, code })).body.code).toBe("invalid_code");
  expect((await enter({ token: await tokenFor(ADA, "sign_in") })).status).toBe(200);
  await ask();
  const next = await codeFor(ADA);
  let looks = 0;
  const { fingerprint } = ctx;
  Object.assign(ctx, {
    fingerprint: (text: string) => {
      if (text.includes("one-time code")) looks += 1;
      return fingerprint(text);
    },
  });
  const guesses = Array.from({ length: 50 }, () => enter({ email: ADA, code: wrongCode(next) }));
  await Promise.all(guesses);
  expect(looks).toBe(5);
  expect((await enter({ email: ADA, code: next })).body.code).toBe("invalid_code");
});

test("fifty concurrent requests with the right code get one session", async () => {
  const { newUser, ask, enter, codeFor, tokenFor } = await emailSignInWorld();
  await newUser();
  for (let round = 0; round < 10; round += 1) {
    await ask();
    const proof =
      round % 2 === 0
        ? { email: ADA, code: await codeFor(ADA) }
        : { token: await tokenFor(ADA, "sign_in") };
    const answers = await Promise.all(Array.from({ length: 50 }, () => enter(proof)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.filter(({ status }) => status !== 200 && status !== 400)).toEqual([]);
  }
});

test("a code is valid for ten minutes, until the next one is sent, and for its own email", async () => {
  const { newUser, ask, enter, codeFor } = await emailSignInWorld();
  await newUser();
  await newUser("bob@example.com");
  await ask();
  const first = await codeFor(ADA);
  expect((await enter({ email: "bob@example.com", code: first })).status).toBe(400);
  await ask();
  const second = await codeFor(ADA);
  if (first !== second) expect((await enter({ email: ADA, code: first })).status).toBe(400);
  setSystemTime(Date.now() + 601_000);
  expect((await enter({ email: ADA, code: second })).body.code).toBe("invalid_code");
});

test("an attacker who registered the email before its owner is signed out", async () => {
  const { newUser, ask, enter, tokenFor, refresh, logIn, as } = await emailSignInWorld();
  const attacker = await newUser();
  await ask();
  const { body } = await enter({ token: await tokenFor(ADA, "sign_in") });
  expect((await attacker.get("/users/me")).status).toBe(401);
  expect((await refresh(attacker.refreshToken)).status).toBe(401);
  expect(await logIn(PASSWORD)).toBe(401);
  expect((await as(body.access_token).get("/users/me")).status).toBe(200);
});

test("an unknown email gets the same response and no mail; a deactivated user cannot sign in", async () => {
  const { newUser, ask, enter, mails, tokenFor, ctx } = await emailSignInWorld({ rateLimit: "on" });
  const ada = await newUser();
  const before = (await mails()).length;
  const shown = ({ status, body }: Awaited<ReturnType<typeof ask>>) => [status, body];
  expect(shown(await ask())).toEqual(shown(await ask("nobody@example.com")));
  expect((await mails()).length).toBe(before + 1);
  const guesses = async (email: string) => {
    const statuses = [];
    for (let at = 0; at < 6; at += 1)
      statuses.push((await enter({ email, code: "000000" })).status);
    return statuses;
  };
  expect(await guesses("nobody@example.com")).toEqual([400, 400, 400, 400, 400, 429]);
  expect(await guesses(ADA)).toEqual([400, 400, 400, 400, 400, 429]);
  const token = await tokenFor(ADA, "sign_in");
  await updateUser(ctx, { kind: "operator" }, { id: ada.id, isActive: false });
  expect((await enter({ token })).body.code).toBe("invalid_link");
});

test("it is disabled by default, and requires a complete credential", async () => {
  const off = await mailWorld();
  await off.newUser();
  for (const [path, body] of [
    ["/auth/email-code", { email: ADA }],
    ["/auth/email-code/verify", { token: "ot_x" }],
  ] as const)
    expect((await off.anonymous.post(path, body)).body.code).toBe("email_sign_in_off");
  const { enter } = await emailSignInWorld();
  for (const proof of [
    {},
    { email: ADA },
    { code: "123456" },
    { token: "ot_x", email: ADA, code: "123456" },
    { email: ADA, code: "12345" },
    { email: ADA, code: "12345a" },
  ])
    expect([proof, (await enter(proof)).status]).toEqual([proof, 422]);
  expect((await enter({ email: "not an address", code: "123456" })).body.code).toBe("invalid_code");
});

test("one IP may try a hundred codes in 15 minutes", async () => {
  const here = await proxiedWorld();
  Object.assign(here.ctx, { config: { ...here.ctx.config, emailSignIn: "on" } });
  const tries = Array.from({ length: 110 }, (_, n) =>
    here.post("email-code/verify", ipOf(1), { email: `n${n}@example.com`, code: "000000" }),
  );
  const answers = await Promise.all(tries);
  expect([countOf(answers, 400), countOf(answers, 429)]).toEqual([100, 10]);
});

test("the page signs in by its button, and shows what a product would get", async () => {
  const { newUser, ask, tokenFor, send, form, enter } = await emailSignInWorld();
  await newUser();
  await ask();
  const token = await tokenFor(ADA, "sign_in");
  for (let at = 0; at < 2; at += 1)
    expect((await send("GET", `/sign-in?token=${token}`)).body).toContain("<form");
  const { status, body } = await form("/sign-in", { token });
  expect([status, body]).toEqual([200, expect.stringContaining("access_token")]);
  // A second click gets the same page, and signs nobody in.
  const second = await form("/sign-in", { token });
  expect([second.status, second.body]).toEqual([200, expect.not.stringContaining("access_token")]);
  expect(second.headers.get("set-cookie")).toBeNull();
  expect((await enter({ token })).body.code).toBe("invalid_link");
});

test("guesses by other clients do not block the code for a known device", async () => {
  const { verifiedUser, send, ask, codeFor, ctx, enter } = await emailSignInWorld({
    rateLimit: "on",
  });
  await verifiedUser();
  const known = await send("POST", "/api/v1/auth/login", {
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ username: ADA, password: PASSWORD }),
  });
  const device = known.headers.get("device-token") ?? "";
  for (let at = 0; at < 6; at += 1) await enter({ email: ADA, code: "000000" });
  await ask();
  const body = JSON.stringify({ email: ADA, code: await codeFor(ADA) });
  const signInFrom = (token: string) =>
    send("POST", "/api/v1/auth/email-code/verify", {
      headers: { "content-type": "application/json", "device-token": token },
      body,
    });
  expect((await signInFrom("")).status).toBe(429);
  const entered = await signInFrom(device);
  expect([entered.status, entered.headers.get("device-token")]).toEqual([200, device]);
  expect(ctx.devices.read(device)?.userId).toBeTruthy();
});

test("guesses by other clients leave a known device its own five attempts", async () => {
  const { verifiedUser, send, ask, codeFor, enter } = await emailSignInWorld();
  await verifiedUser();
  const { headers } = await send("POST", "/api/v1/auth/login", {
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ username: ADA, password: PASSWORD }),
  });
  const signInFrom = (code: string) =>
    send("POST", "/api/v1/auth/email-code/verify", {
      headers: {
        "content-type": "application/json",
        "device-token": headers.get("device-token") ?? "",
      },
      body: JSON.stringify({ email: ADA, code }),
    });
  await ask();
  const code = await codeFor(ADA);
  const other = code === "000000" ? "000001" : "000000";
  for (let at = 0; at < 6; at += 1) await enter({ email: ADA, code: other });
  expect((await enter({ email: ADA, code })).body.code).toBe("invalid_code");
  for (let at = 0; at < 4; at += 1) expect((await signInFrom(other)).status).toBe(400);
  expect((await signInFrom(code)).status).toBe(200);
  await ask();
  const next = await codeFor(ADA);
  for (let at = 0; at < 10; at += 1) await signInFrom(next === other ? code : other);
  expect((await signInFrom(next)).body.code).toBe("invalid_code");
});

test("a code is never stored in clear text", async () => {
  const { newUser, ask, codeFor, sql } = await emailSignInWorld();
  await newUser();
  await ask();
  const code = await codeFor(ADA);
  const rows = JSON.stringify([
    await sql`select *, encode(code_mac, 'escape') from one_time_secrets`,
    await sql`select encode(sealed, 'escape') from mails`,
  ]);
  expect(rows).not.toContain(code);
});
