import { describe, expect, test } from "bun:test";
import { listMails, readMail } from "../../src/modules/mail/mail.ts";
import { mailWorld, NEW } from "../support/mail-world.ts";
import { proxiedWorld } from "../support/proxied-world.ts";
import { PASSWORD } from "../support/world.ts";

describe("a user is notified", () => {
  test("of a new password, of a stolen refresh token, and of a deactivation", async () => {
    const { verifiedUser, superuser, refresh, pass, mails } = await mailWorld();
    const root = await superuser();
    const ada = await verifiedUser();
    const next = await refresh(ada.refreshToken);
    await refresh(next.body.refresh_token);
    pass(11_000);
    await refresh(ada.refreshToken);
    const bob = await verifiedUser("bob@example.com");
    await bob.put("/users/me/password", { current_password: PASSWORD, new_password: NEW });
    await root.patch(`/users/${bob.id}`, { is_active: false });
    // The user was already deactivated: no second mail.
    await root.patch(`/users/${bob.id}`, { is_active: false });
    expect((await mails()).filter((one) => !one.startsWith("verify_email"))).toEqual([
      "account_deactivated bob@example.com",
      "password_changed bob@example.com",
      "reuse_detected ada@example.com",
    ]);
  });

  test("of a sign-in from a new device, and of no other sign-in", async () => {
    const here = await proxiedWorld();
    await here.sql`update users set email_verified = true`;
    const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    const logIn = (from: string, more: Record<string, string> = {}, password = PASSWORD) =>
      here.post(
        "login",
        { "x-forwarded-for": from, "user-agent": firefox, ...more },
        { username: "ada@example.com", password },
      );
    const noticeCount = async () =>
      (await listMails(here.ctx)).filter(({ kind }) => kind === "new_device").length;
    const first = await logIn("203.0.113.7");
    expect([first.status, await noticeCount()]).toEqual([200, 1]);
    await logIn("203.0.113.7");
    const device = first.headers.get("device-token") ?? "";
    await logIn("203.0.113.8", { "device-token": device });
    await logIn("203.0.113.9", {}, "not the password");
    expect(await noticeCount()).toBe(1);
    await logIn("203.0.113.9");
    await logIn("203.0.113.9", { "user-agent": "curl/8.5.0" });
    expect(await noticeCount()).toBe(3);
    const [latest] = await listMails(here.ctx);
    const { rendered } = await readMail(here.ctx, latest?.id ?? "");
    expect(rendered.text).toMatch(/^curl · IP 203\.0\.113\.9 · \d{4}-\d\d-\d\d \d\d:\d\d UTC$/m);
    expect(rendered.text).toMatch(/^Reset password:\nhttp/m);
  });

  test("in texts that a client cannot inject into", async () => {
    const { verifiedUser, send, textsFor } = await mailWorld();
    await verifiedUser();
    await send("POST", "/api/v1/auth/login", {
      headers: {
        "content-type": "application/json",
        "user-agent": "Evil/1.0\u00a0https://evil.example <b>{brand}</b>",
      },
      body: JSON.stringify({ username: "ada", password: PASSWORD }),
    });
    const [text = ""] = await textsFor("ada@example.com", "new_device");
    expect(text).toMatch(/^Evil · IP \? · /m);
    expect(text).not.toContain("evil.example");
  });

  test("only at a verified email: an unverified one may belong to another person", async () => {
    const { newUser, send, mails } = await mailWorld();
    const ada = await newUser();
    for (const agent of ["one/1", "two/2"])
      await send("POST", "/api/v1/auth/login", {
        headers: { "content-type": "application/json", "user-agent": agent },
        body: JSON.stringify({ username: "ada", password: PASSWORD }),
      });
    await ada.put("/users/me/password", { current_password: PASSWORD, new_password: NEW });
    expect(await mails()).toEqual(["verify_email ada@example.com"]);
  });

  test("again of a device that was known before the email change was undone", async () => {
    const here = await mailWorld({ trustedProxies: ["127.0.0.1"] });
    await here.verifiedUser();
    const logIn = (password: string, device: string) =>
      here.send("POST", "/api/v1/auth/login", {
        headers: {
          "content-type": "application/json",
          "x-forwarded-for": "203.0.113.7",
          "device-token": device,
        },
        body: JSON.stringify({ username: "ada", password }),
      });
    const device = (await logIn(PASSWORD, "")).headers.get("device-token") ?? "";
    const noticeCount = async () =>
      (await here.mails()).filter((one) => one.startsWith("new_device")).length;
    const before = await noticeCount();
    await logIn(PASSWORD, device);
    expect(await noticeCount()).toBe(before);
    here.pass(1_000);
    await here.forgot("ada@example.com");
    await here.reset(await here.tokenFor("ada@example.com", "reset_password"));
    const { headers } = await logIn(NEW, device);
    expect([await noticeCount(), headers.get("device-token")]).not.toEqual([before, device]);
    expect(await noticeCount()).toBe(before + 1);
  });
});
