import { describe, expect, setSystemTime, test } from "bun:test";
import { policies } from "../../src/limits/policies.ts";
import { deliverMails } from "../../src/modules/mail/mail.ts";
import { mailWorld } from "../support/mail-world.ts";
import { ipOf } from "../support/proxied-world.ts";
import { PASSWORD } from "../support/world.ts";

const ADA = "ada@example.com";
const MINUTES_MS = 60_000;
/** Only the limit under test can be reached. */
const much = { quota: 10_000, refill: 10_000, periodSeconds: 60 };
const limits = {
  ...Object.fromEntries(Object.keys(policies).map((name) => [name, much])),
  "mail-recipient": policies["mail-recipient"],
} as typeof policies;

/** A world where only mails to one email are limited. */
async function mailLimitsWorld(settings: Parameters<typeof mailWorld>[0] = {}) {
  setSystemTime(new Date("2026-11-28T09:00:00Z"));
  const here = await mailWorld({
    rateLimit: "on",
    trustedProxies: ["127.0.0.1"],
    emailSignIn: "on",
    limits,
    ...settings,
  });
  let requests = 0;
  /** Each from another client IP and with another user agent. */
  const post = (path: string, body: object, credentials: Record<string, string> = {}) => {
    requests += 1;
    return here.send("POST", `/api/v1${path}`, {
      headers: {
        "content-type": "application/json",
        "x-forwarded-for": ipOf(requests),
        "user-agent": `program-${requests}/1`,
        ...credentials,
      },
      body: JSON.stringify(body),
    });
  };
  const sent = async (kind: string, email = ADA) =>
    (await here.mails()).filter((one) => one === `${kind} ${email}`).length;
  return { ...here, post, sent };
}

const bearerOf = ({ token }: { token: string }) => ({ authorization: `Bearer ${token}` });

describe("mails of one kind to one email", () => {
  test("are ten, then one an hour, whatever is requested, from any client", async () => {
    const { verifiedUser, post, sent, pass, mails, tokenFor, reset, newUser } =
      await mailLimitsWorld();
    await verifiedUser();
    const bob = await newUser("bob@example.com");
    const requests: Record<string, () => Promise<{ status: number }>> = {
      reset_password: () => post("/auth/password/forgot", { email: "Ada@Example.com" }),
      sign_in: () => post("/auth/email-code", { email: ADA }),
      address_taken: () =>
        post("/users/me/email", { email: ADA, current_password: PASSWORD }, bearerOf(bob)),
      new_device: () => post("/auth/login", { username: ADA, password: PASSWORD }),
    };
    for (const [kind, request] of Object.entries(requests)) {
      for (let number = 0; number < 15; number += 1) {
        expect([200, 202]).toContain((await request()).status);
        await mails();
      }
      expect([kind, await sent(kind)]).toEqual([kind, 10]);
    }
    for (let number = 0; number < 48; number += 1) {
      pass(15 * MINUTES_MS);
      await requests["reset_password"]?.();
      await mails();
    }
    expect(await sent("reset_password")).toBe(10 + 12);
    // The flood did not invalidate the last link that was mailed.
    expect((await reset(await tokenFor(ADA, "reset_password"))).status).toBe(204);
    expect(await sent("password_changed")).toBe(1);
  });

  test("are limited without a response that shows it, also for an email that no user has", async () => {
    const { verifiedUser, post } = await mailLimitsWorld();
    await verifiedUser();
    const statuses = async (email: string) => {
      const seen = [];
      for (let number = 0; number < 13; number += 1) {
        const { status, body, headers } = await post("/auth/password/forgot", { email });
        seen.push({ status, body, limit: headers.get("ratelimit") });
      }
      return seen;
    };
    expect(await statuses(ADA)).toEqual(await statuses("nobody@example.com"));
  });

  for (const [path, kind] of [
    ["/auth/password/forgot", "reset_password"],
    ["/auth/email-code", "sign_in"],
  ] as const)
    test(`from other clients leave a known device its own limit: ${kind}`, async () => {
      const { verifiedUser, post, sent, pass, newUser } = await mailLimitsWorld({
        limits: { ...limits, "mail-account": policies["mail-account"] },
      });
      await verifiedUser();
      const deviceOf = async (username: string) => {
        const { headers } = await post("/auth/login", { username, password: PASSWORD });
        return headers.get("device-token") ?? "";
      };
      const ada = await deviceOf(ADA);
      await newUser("bob@example.com");
      const bob = await deviceOf("bob@example.com");
      const request = async (times: number, deviceToken = "") => {
        const statuses = [];
        for (let number = 0; number < times; number += 1)
          statuses.push((await post(path, { email: ADA }, { "device-token": deviceToken })).status);
        return [statuses, await sent(kind)];
      };
      const inNextQuarter = (times: number, deviceToken = "") => {
        pass(15 * MINUTES_MS);
        return request(times, deviceToken);
      };
      const [GRANTED, REFUSED] = [202, 429];
      const three = [GRANTED, GRANTED, GRANTED];
      expect(await request(3)).toEqual([three, 3]);
      for (const mails of [6, 9, 10]) expect(await inNextQuarter(3)).toEqual([three, mails]);
      expect(await request(1)).toEqual([[REFUSED], 10]);
      // A known device of another user is not a known device of Ada.
      expect(await request(1, bob)).toEqual([[REFUSED], 10]);
      // Its own limit has the same bounds.
      expect(await request(4, ada)).toEqual([[...three, REFUSED], 13]);
      for (const mails of [16, 19, 20]) expect(await inNextQuarter(3, ada)).toEqual([three, mails]);
    });

  test("are limited across users who register, are deleted and register again", async () => {
    const { ctx, post, send, sent } = await mailLimitsWorld();
    for (let number = 0; number < 12; number += 1) {
      expect((await post("/auth/register", { email: ADA, password: PASSWORD })).status).toBe(201);
      const { body } = await post("/auth/login", { username: ADA, password: PASSWORD });
      const headers = { authorization: `Bearer ${body.access_token}` };
      // Delivered, so that the deletion of the user does not remove it from the queue.
      await deliverMails(ctx);
      expect((await send("DELETE", "/api/v1/users/me", { headers })).status).toBe(204);
    }
    expect(await sent("verify_email", "")).toBe(10);
  });

  test("are limited if emails must be verified, in the same way for a new and a known email", async () => {
    const { post, sent, tokenFor, verify } = await mailLimitsWorld({
      requireEmailVerification: "on",
    });
    const register = (email: string) => post("/auth/register", { email, password: PASSWORD });
    await register(ADA);
    await verify({ token: await tokenFor(ADA, "verify_email"), password: PASSWORD });
    for (let number = 0; number < 13; number += 1)
      for (const email of [ADA, "new@example.com"])
        expect((await register(email)).status).toBe(202);
    expect(await sent("registration_attempt")).toBe(10);
    expect(await sent("verify_email", "new@example.com")).toBe(10);
  });
});
