import { describe, expect, test } from "bun:test";
import { listMails } from "../../src/modules/mail/mail.ts";
import { street } from "../support/street.ts";
import { NEW, town } from "../support/town.ts";
import { PASSWORD } from "../support/world.ts";

describe("an owner is told", () => {
  test("of a new password, of a stolen refresh token, and of the end of the account", async () => {
    const { person, superuser, refresh, pass, mails } = await town();
    const root = await superuser();
    const ada = await person();
    const next = await refresh(ada.refreshToken);
    await refresh(next.body.refresh_token);
    pass(11_000);
    await refresh(ada.refreshToken);
    const bob = await person("bob@example.com");
    await bob.put("/users/me/password", { current_password: PASSWORD, new_password: NEW });
    await root.patch(`/users/${bob.id}`, { is_active: false });
    // It was off already: that is no news.
    await root.patch(`/users/${bob.id}`, { is_active: false });
    expect((await mails()).filter((one) => !one.startsWith("verify_email"))).toEqual([
      "account_deactivated bob@example.com",
      "password_changed bob@example.com",
      "reuse_detected ada@example.com",
    ]);
  });

  test("of a sign-in from where nobody has signed in before, and of no other", async () => {
    const here = await street();
    const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    const logIn = (from: string, more: Record<string, string> = {}, password = PASSWORD) =>
      here.post(
        "login",
        { "x-forwarded-for": from, "user-agent": firefox, ...more },
        { username: "ada@example.com", password },
      );
    const told = async () =>
      (await listMails(here.ctx)).filter(({ kind }) => kind === "new_device").length;
    const first = await logIn("203.0.113.7");
    expect([first.status, await told()]).toEqual([200, 1]);
    await logIn("203.0.113.7");
    const device = first.headers.get("device-token") ?? "";
    await logIn("203.0.113.8", { "device-token": device });
    await logIn("203.0.113.9", {}, "not the password");
    expect(await told()).toBe(1);
    await logIn("203.0.113.9");
    await logIn("203.0.113.9", { "user-agent": "curl/8.5.0" });
    expect(await told()).toBe(3);
  });

  test("of what kind of device it was, from where and when, in words that nobody else can write", async () => {
    const { person, send, textsFor } = await town();
    await person();
    await send("POST", "/api/v1/auth/login", {
      headers: {
        "content-type": "application/json",
        "user-agent": "Evil/1.0\u00a0https://evil.example <b>{brand}</b>",
      },
      body: JSON.stringify({ username: "ada", password: PASSWORD }),
    });
    const [text = ""] = await textsFor("ada@example.com", "new_device");
    expect(text).toMatch(/^Evil, from the address \?, on \d{4}-\d{2}-\d{2} \d{2}:\d{2} UTC$/m);
    expect(text).not.toContain("evil.example");
  });
});
