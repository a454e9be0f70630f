import { describe, expect, test } from "bun:test";
import { mailWorld, NEW } from "../support/mail-world.ts";
import { PASSWORD } from "../support/world.ts";

const ADA = "ada@example.com";
const PRODUCT = "https://app.example.com";
const BROWSER = { accept: "text/html,application/xhtml+xml,*/*;q=0.8" };
const FORM = { "content-type": "application/x-www-form-urlencoded" };

async function place(settings: Parameters<typeof mailWorld>[0] = {}) {
  const here = await mailWorld({ emailSignIn: "on", ...settings });
  const open = async (path: string, init: RequestInit = {}) => {
    const headers = { ...BROWSER, ...(init.headers as Record<string, string>) };
    const response = await here.handle(
      new Request(`http://localhost${path}`, { ...init, headers }),
    );
    return { status: response.status, headers: response.headers, text: await response.text() };
  };
  const send = (path: string, fields: Record<string, string>) =>
    open(path, { method: "POST", headers: FORM, body: new URLSearchParams(fields).toString() });
  const resetToken = async () => {
    await here.forgot(ADA);
    return here.tokenFor(ADA, "reset_password");
  };
  return { ...here, open, sendForm: send, resetToken };
}

describe("the page of a mailed link", () => {
  test("ignores unknown parameters and fields", async () => {
    const { verifiedUser, open, sendForm, resetToken, logIn } = await place();
    await verifiedUser();
    const token = await resetToken();
    const opened = await open(`/reset-password?utm_source=mail&token=${token}&mc_eid=1`);
    expect([opened.status, opened.text]).toEqual([200, expect.stringContaining("<form")]);
    for (const path of ["/verify-email", "/undo-email", "/sign-in"])
      expect((await open(`${path}?token=ot_x&utm_source=mail`)).status).toBe(400);
    const done = await sendForm("/reset-password?utm_source=mail", {
      token,
      password: NEW,
      utm_source: "mail",
    });
    expect([done.status, await logIn(NEW)]).toEqual([200, 200]);
    expect((await sendForm("/forgot-password", { email: ADA, extra: "1" })).status).toBe(202);
  });

  test("returns the same result for a second click, sequential or concurrent", async () => {
    for (const isAtOnce of [false, true]) {
      const { verifiedUser, sendForm, resetToken, sql } = await place();
      await verifiedUser();
      const fields = { token: await resetToken(), password: NEW };
      const click = () => sendForm("/reset-password", fields);
      const clicks = isAtOnce
        ? await Promise.all([click(), click(), click()])
        : [await click(), await click()];
      for (const { status, text } of clicks)
        expect([status, text]).toEqual([200, expect.stringContaining("Your new password is set")]);
      const changes = await sql`select 1 from events where type = 'password.changed'`;
      expect(changes).toHaveLength(1);
    }
  });

  test("reports an invalid link for another password, after a minute, and for other links", async () => {
    const { verifiedUser, sendForm, resetToken, reset, pass, logIn } = await place();
    await verifiedUser();
    const token = await resetToken();
    const other = await resetToken();
    expect((await sendForm("/reset-password", { token, password: NEW })).status).toBe(200);
    const another = `${NEW} another`;
    expect((await sendForm("/reset-password", { token, password: another })).status).toBe(400);
    expect((await sendForm("/reset-password", { token: other, password: NEW })).status).toBe(400);
    // A program gets the exact result: it can recognize a retry itself.
    expect((await reset(token)).body.code).toBe("invalid_link");
    pass(61_000);
    const late = await sendForm("/reset-password", { token, password: NEW });
    expect([late.status, late.text]).toEqual([400, expect.stringContaining("no longer valid")]);
    expect(await logIn(NEW)).toBe(200);
  });

  test("reveals nothing about the password of a used link, nor for another page or an inactive user", async () => {
    const { verifiedUser, sendForm, resetToken, sql } = await place();
    await verifiedUser();
    const use = async () => {
      const token = await resetToken();
      expect((await sendForm("/reset-password", { token, password: NEW })).status).toBe(200);
      return { token, password: NEW };
    };
    const statusOf = async (path: string, form: Record<string, string>) =>
      (await sendForm(path, form)).status;
    const guessed = await use();
    const guesses = Array.from({ length: 20 }, (_, at) => ({
      ...guessed,
      password: at === 19 ? NEW : `${NEW}${at}`,
    }));
    const answers = await Promise.all(guesses.map((form) => statusOf("/reset-password", form)));
    expect(answers.filter((status) => status === 200).length).toBeLessThanOrEqual(1);
    const before = await use();
    expect(await statusOf("/reset-password", { ...before, password: `${NEW}!` })).toBe(400);
    expect(await statusOf("/reset-password", before)).toBe(400);
    const unguessed = await use();
    expect(await statusOf("/verify-email", unguessed)).toBe(400);
    expect(await statusOf("/reset-password", unguessed)).toBe(200);
    await sql`update users set is_active = false`;
    expect(await statusOf("/reset-password", unguessed)).toBe(400);
  });

  test("returns the same result for a second click on both buttons of the page about an email", async () => {
    const { newUser, sendForm, tokenFor } = await place();
    for (const [email, fields, said] of [
      ["ada@example.com", { password: PASSWORD }, "is verified"],
      ["bob@example.com", { intent: "disown" }, "Thanks for letting us know"],
    ] as const) {
      await newUser(email);
      const token = await tokenFor(email, "verify_email");
      for (let at = 0; at < 2; at += 1) {
        const { status, text } = await sendForm("/verify-email", { token, ...fields });
        expect([status, text]).toEqual([200, expect.stringContaining(said)]);
      }
    }
  });

  test("links to the product at the end", async () => {
    for (const [settings, product] of [
      [{ productUrl: `${PRODUCT}/home` }, `href="${PRODUCT}/home"`],
      [{ verifyEmailUrl: `${PRODUCT}/verify` }, `href="${PRODUCT}"`],
    ] as const) {
      const { verifiedUser, open, sendForm, resetToken } = await place(settings);
      await verifiedUser();
      const fields = { token: await resetToken(), password: NEW };
      for (const { text } of [
        await sendForm("/reset-password", fields),
        await open("/reset-password?token=ot_x"),
        await sendForm("/forgot-password", { email: ADA }),
        await open("/nothing"),
      ])
        expect(text).toContain(product);
    }
  });

  test("that signs in shows tokens in development only", async () => {
    const redirect = `${PRODUCT}/in`;
    for (const settings of [
      { environment: "production", signInUrl: redirect } as const,
      { environment: "development", signInUrl: redirect } as const,
    ]) {
      const { verifiedUser, open, sendForm, anonymous, tokenFor } = await place(settings);
      await verifiedUser();
      await anonymous.post("/auth/email-code", { email: ADA });
      const token = await tokenFor(ADA, "sign_in");
      const { status, headers } = await open(`/sign-in?token=${token}`);
      expect([status, headers.get("location")]).toEqual([303, `${redirect}?token=${token}`]);
      const sent = await sendForm("/sign-in", { token });
      expect([sent.status, sent.text]).toEqual([404, expect.not.stringContaining("access_token")]);
      expect((await anonymous.post("/auth/email-code/verify", { token })).status).toBe(200);
    }
  });
});

test("a link of a deactivated user does nothing until the user is active again", async () => {
  const { verifiedUser, superuser, reset, resetToken, verify, tokenFor } = await place();
  const ada = await verifiedUser();
  const root = await superuser();
  const token = await resetToken();
  await ada.post("/users/me/email", { email: "new@example.com", current_password: PASSWORD });
  const change = await tokenFor("new@example.com", "change_email");
  const setActive = (isActive: boolean) => root.patch(`/users/${ada.id}`, { is_active: isActive });
  await setActive(false);
  expect((await reset(token)).body.code).toBe("invalid_link");
  expect((await verify({ token: change, password: PASSWORD })).body.code).toBe("invalid_link");
  await setActive(true);
});

describe("an error", () => {
  test("is a page on every path of a page, for every error, also for programs", async () => {
    const { open } = await place();
    for (const [status, path, init] of [
      [415, "/reset-password", { method: "POST", body: "x", headers: { accept: "*/*" } }],
      [422, "/reset-password", { method: "POST", headers: FORM, body: "token=" }],
      [400, "/verify-email", { method: "POST", headers: FORM, body: "token=%ff" }],
      [405, "/sign-in/", { method: "DELETE" }],
      [403, "/undo-email", { method: "POST", headers: { ...FORM, origin: "null" }, body: "a=b" }],
      [413, "/forgot-password", { method: "POST", headers: FORM, body: "e".repeat(70_000) }],
    ] as const) {
      const answer = await open(path, init);
      expect([path, answer.status]).toEqual([path, status]);
      expect(answer.headers.get("content-type")).toContain("text/html");
      expect(answer.headers.get("cache-control")).toBe("no-store");
      expect(answer.headers.get("x-request-id")).toBeString();
      expect(answer.text).toContain("<h1>");
    }
  });

  test("is a page for a browser that finds nothing, in its language and with the name of the product", async () => {
    const { open } = await place({ brandName: "Stable & Co" });
    const { status, text } = await open("/nothing");
    expect(status).toBe(404);
    expect(text).toContain("Page not found");
    expect(text).toContain("Stable &#38; Co");
    const german = await open("/nothing", { headers: { "accept-language": "de" } });
    expect(german.text).toContain("Seite nicht gefunden");
    expect(german.text).toContain('lang="de"');
    expect((await open("/livez", { method: "DELETE" })).headers.get("allow")).toContain("GET");
  });

  test("is problem details for programs, and on API paths for browsers as well", async () => {
    const { open } = await place();
    for (const [path, accept] of [
      ["/nothing", "*/*"],
      ["/nothing", "application/json"],
      ["/api/v1/users/me", BROWSER.accept],
      ["/oauth/nothing", BROWSER.accept],
    ] as const) {
      const { headers } = await open(path, { headers: { accept } });
      expect([path, headers.get("content-type")]).toEqual([path, "application/problem+json"]);
    }
  });
});

describe("the page at the root", () => {
  test("in development explains what this is and how to create the first superuser", async () => {
    const { open, superuser } = await place();
    const before = (await open("/")).text;
    for (const said of ["/docs", "/dev/mailbox", "--superuser", "/api/v1/auth/register"])
      expect(before).toContain(said);
    await superuser();
    const after = (await open("/")).text;
    expect(after).toContain("There is a superuser");
    expect(after).not.toContain("--superuser");
  });

  test("suggests no registration while it is closed", async () => {
    const { open } = await place({ registration: "closed" });
    expect((await open("/")).text).not.toContain("/auth/register");
  });

  test("in production has the name of the product and nothing else", async () => {
    const { open } = await place({
      environment: "production",
      brandName: "Stable",
      productUrl: PRODUCT,
      signInUrl: `${PRODUCT}/in`,
    });
    const { status, text } = await open("/", { headers: { "accept-language": "de" } });
    expect(status).toBe(200);
    expect(text).toContain("Stable");
    expect(text).toContain(`href="${PRODUCT}"`);
    expect(text).not.toMatch(/superuser|\/docs|Bunker/);
  });
});
