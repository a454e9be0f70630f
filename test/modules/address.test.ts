import { describe, expect, setSystemTime, test } from "bun:test";
import { NEW, town } from "../support/town.ts";
import { PASSWORD } from "../support/world.ts";

const OLD_ADDRESS = "ada@example.com";
const NEW_ADDRESS = "ada@example.org";

/** Ada, whose address is proven. */
async function adasTown() {
  const here = await town();
  const ada = await here.person(OLD_ADDRESS);
  const token = await here.tokenFor(OLD_ADDRESS, "verify_email");
  await here.verify({ token, password: PASSWORD });
  const move = (email: string, more: object = {}) =>
    ada.post("/users/me/email", { email, ...more });
  const arrive = async (email: string, password = PASSWORD) =>
    here.verify({ token: await here.tokenFor(email, "change_email"), password });
  return { ...here, ada, move, arrive };
}

describe("another address", () => {
  test("is the account's when its owner opens the link there; until then nothing changes", async () => {
    const { ada, move, mails, tokenFor, verify, logIn, anyone } = await adasTown();
    expect((await move(NEW_ADDRESS)).status).toBe(202);
    expect((await mails())[0]).toBe(`change_email ${NEW_ADDRESS}`);
    const token = await tokenFor(NEW_ADDRESS, "change_email");
    expect((await ada.get("/users/me")).body.email).toBe(OLD_ADDRESS);
    // The link alone does not do it: whoever gets one may have nothing to do with the account.
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
    // The address that is free again takes another account.
    expect(
      (await anyone.post("/auth/register", { email: OLD_ADDRESS, password: PASSWORD })).status,
    ).toBe(201);
  });

  test("is asked for only by who proves lately who they are", async () => {
    const { move, pass, ada, mails } = await adasTown();
    expect((await move(NEW_ADDRESS, { current_password: "wrong" })).status).toBe(401);
    pass(11 * 60_000);
    expect((await move(NEW_ADDRESS)).body.code).toBe("reauthentication_required");
    expect((await move(NEW_ADDRESS, { current_password: PASSWORD })).status).toBe(202);
    expect(
      (await ada.post("/users/me/email", { email: "Ada <ada@example.org>" })).body.errors,
    ).toMatchObject([{ pointer: "/email", code: "wrong_format" }]);
    expect((await move("ADA@EXAMPLE.COM")).body.errors).toMatchObject([
      { pointer: "/email", code: "not_allowed" },
    ]);
    expect((await mails()).filter((one) => one.startsWith("change_email"))).toHaveLength(1);
  });

  test("that somebody has is answered alike, and its owner is told", async () => {
    const { person, move, mails } = await adasTown();
    await person("bob@example.com");
    const [taken, free] = [await move("BOB@example.com"), await move("free@example.com")];
    expect([taken.status, taken.body]).toEqual([free.status, free.body]);
    expect((await mails()).slice(0, 2).sort()).toEqual([
      "address_taken bob@example.com",
      "change_email free@example.com",
    ]);
  });

  test("that somebody else took meanwhile is not taken away", async () => {
    const { person, move, arrive, tokenFor } = await adasTown();
    await move("bob@example.com");
    await tokenFor("bob@example.com", "change_email");
    await person("bob@example.com");
    const late = await arrive("bob@example.com");
    expect([late.status, late.body.code]).toEqual([409, "email_taken"]);
  });

  test("ends the links that were mailed to the old one", async () => {
    const { forgot, tokenFor, move, arrive, reset, logIn } = await adasTown();
    await forgot(OLD_ADDRESS);
    const token = await tokenFor(OLD_ADDRESS, "reset_password");
    await move(NEW_ADDRESS);
    await arrive(NEW_ADDRESS);
    expect((await reset(token)).body.code).toBe("invalid_link");
    expect(await logIn(PASSWORD)).toBe(200);
  });

  test("that a thief asked for comes to nothing once the owner has set another password", async () => {
    for (const isAnswered of [true, false]) {
      const { forgot, tokenFor, move, verify, reset, ada, mails } = await adasTown();
      await forgot(OLD_ADDRESS);
      const token = await tokenFor(OLD_ADDRESS, "reset_password");
      await move(NEW_ADDRESS);
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

describe("the old address", () => {
  test("takes the account back: the thief is out, and knows no password", async () => {
    const { move, arrive, tokenFor, form, send, ada, logIn, reset, mails } = await adasTown();
    await move(NEW_ADDRESS);
    await arrive(NEW_ADDRESS);
    const token = await tokenFor(OLD_ADDRESS, "email_changed");
    expect((await send("GET", `/undo-email?token=${token}`)).body).toContain("<form");
    expect((await form("/undo-email", { token })).body).toContain("yours again");
    expect((await ada.get("/users/me")).status).toBe(401);
    expect([await logIn(PASSWORD), await logIn(PASSWORD, NEW_ADDRESS)]).toEqual([401, 401]);
    expect((await mails())[0]).toBe(`reset_password ${OLD_ADDRESS}`);
    expect((await reset(await tokenFor(OLD_ADDRESS, "reset_password"))).status).toBe(204);
    expect(await logIn(NEW, OLD_ADDRESS)).toBe(200);
    expect((await form("/undo-email", { token })).status).toBe(400);
  });

  test("does so also when the thief has moved on, and not the other way round", async () => {
    const { move, arrive, tokenFor, form, sql, reset, forgot } = await adasTown();
    for (const email of ["thief@example.com", "thief@example.org", "thief@example.net"]) {
      await move(email);
      expect((await arrive(email)).status).toBe(204);
    }
    const thiefs = await tokenFor("thief@example.com", "email_changed");
    // Whatever the thief does with the address that he has.
    await forgot("thief@example.net");
    await reset(await tokenFor("thief@example.net", "reset_password"));
    const owners = await tokenFor(OLD_ADDRESS, "email_changed");
    expect((await form("/undo-email", { token: owners })).status).toBe(200);
    expect((await form("/undo-email", { token: thiefs })).status).toBe(400);
    expect(await sql`select email from users`).toMatchObject([{ email: OLD_ADDRESS }]);
  });

  test("for a week, and not when it was never proven: it may be a stranger's, by a slip of the pen", async () => {
    const { move, arrive, tokenFor, form, person, mails, verify } = await adasTown();
    await move(NEW_ADDRESS);
    await arrive(NEW_ADDRESS);
    const token = await tokenFor(OLD_ADDRESS, "email_changed");
    setSystemTime(Date.now() + 7 * 86_400_000 + 1_000);
    expect((await form("/undo-email", { token })).status).toBe(400);
    const eve = await person("wrong@example.com");
    await eve.post("/users/me/email", { email: "right@example.com" });
    const right = await tokenFor("right@example.com", "change_email");
    expect((await verify({ token: right }, eve.token)).status).toBe(204);
    expect(await mails()).not.toContain("email_changed wrong@example.com");
  });

  test("is not taken back when somebody has it by now", async () => {
    const { move, arrive, tokenFor, form, person, forgot, reset, anyone, as } = await adasTown();
    await move(NEW_ADDRESS);
    await arrive(NEW_ADDRESS);
    await person(OLD_ADDRESS);
    const token = await tokenFor(OLD_ADDRESS, "email_changed");
    const answer = await form("/undo-email", { token });
    expect([answer.status, answer.body]).toEqual([409, expect.stringContaining("Another account")]);
    // Its owner gets at that one too, and then at this: nobody blocks the way back by registering.
    await forgot(OLD_ADDRESS);
    await reset(await tokenFor(OLD_ADDRESS, "reset_password"));
    const { body } = await anyone.post("/auth/login", { username: OLD_ADDRESS, password: NEW });
    expect((await as(body.access_token).delete("/users/me")).status).toBe(204);
    expect((await form("/undo-email", { token })).status).toBe(200);
  });
});

test("somebody who gets such a mail by mistake says so, and nothing changes", async () => {
  const { move, tokenFor, form, verify, ada } = await adasTown();
  await move(NEW_ADDRESS);
  const token = await tokenFor(NEW_ADDRESS, "change_email");
  expect((await form("/verify-email", { token, intent: "disown" })).body).toContain("Nothing was");
  expect((await verify({ token }, ada.token)).body.code).toBe("invalid_link");
  expect((await ada.get("/users/me")).body.email).toBe(OLD_ADDRESS);
});
