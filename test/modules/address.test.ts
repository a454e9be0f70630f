import { describe, expect, setSystemTime, test } from "bun:test";
import { policies } from "../../src/limits/policies.ts";
import { mailWorld, NEW } from "../support/mail-world.ts";
import { PASSWORD } from "../support/world.ts";

const OLD_ADDRESS = "ada@example.com";
const NEW_ADDRESS = "ada@example.org";

/** Ada, whose email is verified. */
async function adasWorld(settings: Parameters<typeof mailWorld>[0] = {}) {
  const here = await mailWorld(settings);
  const ada = await here.verifiedUser(OLD_ADDRESS);
  const requestChange = (email: string, more: object = {}) =>
    ada.post("/users/me/email", { email, ...more });
  const useLink = async (email: string, password = PASSWORD) =>
    here.verify({ token: await here.tokenFor(email, "change_email"), password });
  return { ...here, ada, requestChange, useLink };
}

describe("a change of email", () => {
  test("takes effect when its owner opens the link with access to the user; until then nothing changes", async () => {
    const { ada, requestChange, mails, tokenFor, verify, logIn, anonymous } = await adasWorld();
    expect((await requestChange(NEW_ADDRESS)).status).toBe(202);
    expect((await mails())[0]).toBe(`change_email ${NEW_ADDRESS}`);
    const token = await tokenFor(NEW_ADDRESS, "change_email");
    expect((await ada.get("/users/me")).body.email).toBe(OLD_ADDRESS);
    // The link alone is not enough: it may have reached a person who has no access to the user.
    const alone = await verify({ token });
    expect([alone.status, alone.body.code]).toEqual([401, "invalid_credentials"]);
    expect((await verify({ token, password: NEW })).status).toBe(401);
    expect((await verify({ token }, ada.token)).status).toBe(204);
    const { email, email_verified } = (await ada.get("/users/me")).body;
    expect([email, email_verified]).toEqual([NEW_ADDRESS, true]);
    expect([await logIn(PASSWORD, OLD_ADDRESS), await logIn(PASSWORD, NEW_ADDRESS)]).toEqual([
      401, 200,
    ]);
    expect((await mails()).slice(0, 1)).toEqual([`email_changed ${OLD_ADDRESS}`]);
    expect((await verify({ token }, ada.token)).body.code).toBe("invalid_link");
    const events = (await ada.get("/users/me/events")).body.map(
      ({ type }: { type: string }) => type,
    );
    expect(events).toContain("email.changed");
    // The old email is free again, so another user can register it.
    expect(
      (await anonymous.post("/auth/register", { email: OLD_ADDRESS, password: PASSWORD })).status,
    ).toBe(201);
  });

  test("requires the password or a recent sign-in", async () => {
    const { requestChange, pass, ada, mails } = await adasWorld();
    expect((await requestChange(NEW_ADDRESS, { current_password: "wrong" })).status).toBe(401);
    pass(11 * 60_000);
    expect((await requestChange(NEW_ADDRESS)).body.code).toBe("reauthentication_required");
    expect((await requestChange(NEW_ADDRESS, { current_password: PASSWORD })).status).toBe(202);
    expect(
      (await ada.post("/users/me/email", { email: "Ada <ada@example.org>" })).body.errors,
    ).toMatchObject([{ pointer: "/email", code: "wrong_format" }]);
    expect((await requestChange("ADA@EXAMPLE.COM")).body.errors).toMatchObject([
      { pointer: "/email", code: "not_allowed" },
    ]);
    expect((await mails()).filter((one) => one.startsWith("change_email"))).toHaveLength(1);
  });

  test("to an email of another user gets the same response, and the owner of that email gets a mail", async () => {
    const { verifiedUser, requestChange, mails } = await adasWorld();
    await verifiedUser("bob@example.com");
    const [taken, free] = [
      await requestChange("BOB@example.com"),
      await requestChange("free@example.com"),
    ];
    expect([taken.status, taken.body]).toEqual([free.status, free.body]);
    expect((await mails()).slice(0, 2).sort()).toEqual([
      "address_taken bob@example.com",
      "change_email free@example.com",
    ]);
  });

  test("does not take an email that another user has verified meanwhile", async () => {
    const { verifiedUser, requestChange, useLink, tokenFor } = await adasWorld();
    await requestChange("bob@example.com");
    await tokenFor("bob@example.com", "change_email");
    await verifiedUser("bob@example.com");
    const late = await useLink("bob@example.com");
    expect([late.status, late.body.code]).toEqual([409, "email_taken"]);
  });

  test("takes an email from a user who never verified it", async () => {
    const { newUser, requestChange, send, tokenFor, mails, logIn, anonymous } = await adasWorld();
    const unverified = await newUser("bob@example.com");
    await requestChange("bob@example.com");
    expect((await mails())[0]).toBe("change_email bob@example.com");
    const token = await tokenFor("bob@example.com", "change_email");
    const verifiedUser = await send("POST", "/api/v1/auth/email/verify", {
      headers: { "content-type": "application/json", "user-agent": "Bob's browser" },
      body: JSON.stringify({ token, password: PASSWORD }),
    });
    expect(verifiedUser.status).toBe(204);
    const events = (await unverified.get("/users/me/events")).body;
    expect(events[0]).toMatchObject({
      type: "email.changed",
      data: { ip: null, user_agent: null },
    });
    const taken = (await unverified.get("/users/me")).body.email;
    expect(
      (await anonymous.post("/auth/register", { email: taken, password: PASSWORD })).status,
    ).toBe(422);
    // That user keeps everything except the email.
    expect((await unverified.get("/users/me")).body.email).toMatch(/^user-.+@displaced\.invalid$/);
    expect([await logIn(PASSWORD, "bob"), await logIn(PASSWORD, "ada")]).toEqual([200, 200]);
  });

  test("fails if the user was deactivated meanwhile", async () => {
    const { ada, superuser, requestChange, useLink, tokenFor } = await adasWorld();
    const root = await superuser();
    await requestChange(NEW_ADDRESS);
    await tokenFor(NEW_ADDRESS, "change_email");
    await root.patch(`/users/${ada.id}`, { is_active: false });
    expect((await useLink(NEW_ADDRESS)).body.code).toBe("invalid_link");
  });

  test("does not let the reader of a misdirected link guess the password, or learn whose user it is", async () => {
    const few = { quota: 5, refill: 5, periodSeconds: 900 };
    const limits = { ...policies, "login-account": few };
    const { requestChange, tokenFor, verify, send } = await adasWorld({ rateLimit: "on", limits });
    await requestChange("typo@example.org");
    const token = await tokenFor("typo@example.org", "change_email");
    const { body } = await send("GET", `/verify-email?token=${token}`);
    expect([body.includes("typo@example.org"), body.includes(OLD_ADDRESS)]).toEqual([true, false]);
    const statuses = [];
    for (let at = 0; at < 6; at += 1)
      statuses.push((await verify({ token, password: `guess number ${at}` })).status);
    // As at sign-in: five failures for one user, from all IPs together.
    expect(statuses).toEqual([...Array(5).fill(401), 429]);
    const failed = await verify({ token, password: PASSWORD });
    expect(failed.status).toBe(429);
  });

  test("invalidates the links that were mailed to the old email", async () => {
    const { forgot, tokenFor, requestChange, useLink, reset, logIn } = await adasWorld();
    await forgot(OLD_ADDRESS);
    const token = await tokenFor(OLD_ADDRESS, "reset_password");
    await requestChange(NEW_ADDRESS);
    await useLink(NEW_ADDRESS);
    expect((await reset(token)).body.code).toBe("invalid_link");
    expect(await logIn(PASSWORD)).toBe(200);
  });

  test("that an attacker requested fails once the owner has set another password", async () => {
    for (const isAnswered of [true, false]) {
      const { forgot, tokenFor, requestChange, verify, reset, ada, mails } = await adasWorld();
      await forgot(OLD_ADDRESS);
      const token = await tokenFor(OLD_ADDRESS, "reset_password");
      await requestChange(NEW_ADDRESS);
      if (isAnswered) await mails();
      expect((await reset(token)).status).toBe(204);
      const late = await tokenFor(NEW_ADDRESS, "change_email");
      expect(late).toEqual(isAnswered ? expect.stringContaining("ot_") : "");
      if (isAnswered)
        expect((await verify({ token: late, password: NEW })).body.code).toBe("invalid_link");
      expect((await ada.get("/users/me")).status).toBe(401);
    }
  });
});

describe("the old email", () => {
  test("undoes the change: the attacker is signed out, and no password is set", async () => {
    const { requestChange, useLink, tokenFor, form, send, ada, logIn, reset, mails, pass } =
      await adasWorld();
    await requestChange(NEW_ADDRESS);
    await useLink(NEW_ADDRESS);
    const token = await tokenFor(OLD_ADDRESS, "email_changed");
    expect((await send("GET", `/undo-email?token=${token}`)).body).toContain("<form");
    expect((await form("/undo-email", { token })).body).toContain("was restored");
    expect((await ada.get("/users/me")).status).toBe(401);
    expect([await logIn(PASSWORD), await logIn(PASSWORD, NEW_ADDRESS)]).toEqual([401, 401]);
    expect((await mails()).slice(0, 2).sort()).toEqual([
      `email_restored ${NEW_ADDRESS}`,
      `reset_password ${OLD_ADDRESS}`,
    ]);
    expect((await reset(await tokenFor(OLD_ADDRESS, "reset_password"))).status).toBe(204);
    expect(await logIn(NEW, OLD_ADDRESS)).toBe(200);
    // A second click gets the same page as the first, and changes nothing.
    expect((await form("/undo-email", { token })).status).toBe(200);
    pass(2 * 60_000);
    expect((await form("/undo-email", { token })).status).toBe(400);
  });

  test("also undoes it after the attacker has changed the email again, but not the other way round", async () => {
    const { requestChange, useLink, tokenFor, form, sql, reset, forgot, pass } = await adasWorld();
    // More often than other kinds of links are kept, by instances whose clocks differ.
    const stops = Array.from({ length: 6 }, (_, n) => `attacker@example${n}.com`);
    for (const email of [...stops, "attacker@example.com", "attacker@example.net"]) {
      await requestChange(email);
      expect((await useLink(email)).status).toBe(204);
      pass(-5_000);
    }
    const attackerToken = await tokenFor("attacker@example.com", "email_changed");
    // Whatever the attacker does with their email.
    await forgot("attacker@example.net");
    await reset(await tokenFor("attacker@example.net", "reset_password"));
    const owners = await tokenFor(OLD_ADDRESS, "email_changed");
    expect((await form("/undo-email", { token: owners })).status).toBe(200);
    expect((await form("/undo-email", { token: attackerToken })).status).toBe(400);
    expect(await sql`select email from users`).toMatchObject([{ email: OLD_ADDRESS }]);
  });

  test("can undo it for a week, but not if it was never verified: it may belong to another person", async () => {
    const { requestChange, useLink, tokenFor, form, newUser, mails, verify } = await adasWorld();
    await requestChange(NEW_ADDRESS);
    await useLink(NEW_ADDRESS);
    const token = await tokenFor(OLD_ADDRESS, "email_changed");
    setSystemTime(Date.now() + 7 * 86_400_000 + 1_000);
    expect((await form("/undo-email", { token })).status).toBe(400);
    const eve = await newUser("wrong@example.com");
    await eve.post("/users/me/email", { email: "right@example.com" });
    const right = await tokenFor("right@example.com", "change_email");
    expect((await verify({ token: right }, eve.token)).status).toBe(204);
    expect(await mails()).not.toContain("email_changed wrong@example.com");
  });

  test("is taken back from a user who registered it without verifying it, but not from a verified user", async () => {
    for (const isVerified of [false, true]) {
      const here = await adasWorld();
      const { requestChange, useLink, tokenFor, form, newUser, verifiedUser } = here;
      await requestChange(NEW_ADDRESS);
      await useLink(NEW_ADDRESS);
      await (isVerified ? verifiedUser(OLD_ADDRESS) : newUser(OLD_ADDRESS));
      const token = await tokenFor(OLD_ADDRESS, "email_changed");
      const answer = await form("/undo-email", { token });
      expect([answer.status, answer.body]).toEqual(
        isVerified
          ? [409, expect.stringContaining("Another account")]
          : [200, expect.stringContaining("was restored")],
      );
    }
  });

  test("wins against concurrent changes by the attacker", async () => {
    for (let round = 0; round < 5; round += 1) {
      const { requestChange, useLink, tokenFor, form, verify, sql } = await adasWorld();
      await requestChange("attacker@example.com");
      await useLink("attacker@example.com");
      await requestChange("attacker@example.org");
      const undo = await tokenFor(OLD_ADDRESS, "email_changed");
      const next = await tokenFor("attacker@example.org", "change_email");
      const [undone] = await Promise.all([
        form("/undo-email", { token: undo }),
        verify({ token: next, password: PASSWORD }),
      ]);
      expect(undone.status).toBe(200);
      expect(await sql`select email from users`).toMatchObject([{ email: OLD_ADDRESS }]);
    }
  });
});

test("the recipient of a misdirected mail can report it, and nothing changes", async () => {
  const { requestChange, tokenFor, form, verify, ada } = await adasWorld();
  await requestChange(NEW_ADDRESS);
  const token = await tokenFor(NEW_ADDRESS, "change_email");
  expect((await form("/verify-email", { token, intent: "disown" })).body).toContain("Nothing was");
  expect((await verify({ token }, ada.token)).body.code).toBe("invalid_link");
  expect((await ada.get("/users/me")).body.email).toBe(OLD_ADDRESS);
});

test("two users who take each other's email at once do not deadlock", async () => {
  const { newUser, verify, tokenFor, sql } = await mailWorld();
  const deadlocks = async () => {
    await sql`select pg_stat_clear_snapshot()`;
    const [row] = await sql`select deadlocks::int from pg_stat_database
      where datname = current_database()`;
    return row?.["deadlocks"];
  };
  const before = await deadlocks();
  for (let round = 0; round < 5; round += 1) {
    const [first, second] = [`ada${round}@example.com`, `bob${round}@example.com`];
    const [ada, bob] = [await newUser(first), await newUser(second)];
    await ada.post("/users/me/email", { email: second });
    await bob.post("/users/me/email", { email: first });
    const tokens = [
      await tokenFor(second, "change_email"),
      await tokenFor(first, "change_email"),
    ] as const;
    const answers = await Promise.all([
      verify({ token: tokens[0] }, ada.token),
      verify({ token: tokens[1] }, bob.token),
    ]);
    const statuses = answers.map(({ status }) => status).sort();
    expect(statuses[0]).toBe(204);
    expect(statuses[1]).toBeLessThan(500);
  }
  expect(await deadlocks()).toBe(before);
});
