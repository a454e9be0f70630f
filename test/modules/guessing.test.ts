import { describe, expect, setSystemTime, test } from "bun:test";
import { policies } from "../../src/limits/policies.ts";
import { findCredentials, setPassword } from "../../src/modules/passwords/passwords.ts";
import { mailWorld, NEW } from "../support/mail-world.ts";
import { countOf, few, ipOf, proxiedWorld, wrong } from "../support/proxied-world.ts";
import { PASSWORD } from "../support/world.ts";

describe("password guessing", () => {
  test("from 200 IPs at one user gets 15 attempts, and does not lock out the owner's client", async () => {
    const { logIn } = await proxiedWorld();
    const device = (await logIn("203.0.113.7")).headers.get("device-token") ?? "";
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, number) => logIn(ipOf(number), wrong)),
    );
    expect([countOf(answers, 401), countOf(answers, 429)]).toEqual([15, 185]);
    expect((await logIn("203.0.113.7")).status).toBe(429);
    expect((await logIn("203.0.113.7", PASSWORD, device)).status).toBe(200);
    // A known device has shown that the user's owner has it: guesses of others do not delay it.
    expect((await logIn("203.0.113.8")).status).toBe(200);
  });

  test("at a name that no user has looks the same", async () => {
    const { post } = await proxiedWorld({ "login-account": few });
    const guess = (number: number) =>
      post("login", ipOf(number), { username: "nobody@example.com", password: wrong });
    const answers = await Promise.all([1, 2, 3, 4, 5].map(guess));
    expect([countOf(answers, 401), countOf(answers, 429)]).toEqual([3, 2]);
  });

  test("does not reveal how many attempts remain for a user, which would reveal whether the user exists", async () => {
    const { post, logIn } = await proxiedWorld();
    const device = (await logIn("203.0.113.7")).headers.get("device-token") ?? "";
    const answerTo = async (username: string, from: string) =>
      (await post("login", from, { username, password: wrong })).headers.get("ratelimit");
    const answersTo = async (names: string[], from: string) => {
      const answers = [];
      for (const name of names) answers.push(await answerTo(name, from));
      await logIn(ipOf(1), PASSWORD, device);
      answers.push(await answerTo(names[0] ?? "", from));
      return answers;
    };
    const hers = await answersTo(["ada@example.com", "ada"], "198.51.100.1");
    const unknown = await answersTo(["nobody@example.com", "nobody"], "198.51.100.2");
    expect(hers).toEqual(unknown);
  });

  test("at a free username only locks sign-in by that name for the user who takes it", async () => {
    const { post, newUser } = await proxiedWorld({ "login-account": few });
    const bob = await newUser("bob@example.com");
    const username = "bob-the-second";
    for (const number of [1, 2, 3])
      await post("login", ipOf(number), { username, password: wrong });
    expect((await bob.patch("/users/me", { username })).status).toBe(200);
    const signIn = (number: number, name: string, device = "") =>
      post(
        "login",
        { "x-forwarded-for": ipOf(number), "device-token": device },
        { username: name, password: PASSWORD },
      );
    expect((await signIn(4, username)).status).toBe(429);
    const byEmail = await signIn(5, "bob@example.com");
    expect(byEmail.status).toBe(200);
    const device = byEmail.headers.get("device-token") ?? "";
    expect((await signIn(6, username, device)).status).toBe(200);
    expect((await signIn(7, username)).status).toBe(200);
  });

  test("gets no more attempts if an attacker with a session changes the username back and forth", async () => {
    const { post, newUser } = await proxiedWorld({ "login-account": few });
    const bob = await newUser("bob@example.com");
    const guess = (number: number, username: string) =>
      post("login", ipOf(number), { username, password: wrong });
    for (const name of ["bob@example.com", "bob"])
      for (const number of [1, 2, 3]) expect((await guess(number, name)).status).toBe(401);
    for (const username of ["BOB", "bob", "robert", "bob"]) {
      expect((await bob.patch("/users/me", { username })).status).toBe(200);
      for (const name of ["bob@example.com", "bob"])
        expect([username, name, (await guess(4, name)).status]).toEqual([username, name, 429]);
    }
  });

  test("at one user counts separately by email and by username, in every spelling", async () => {
    const { post } = await proxiedWorld({ "login-account": few });
    const guess = async (names: string[]) => {
      const statuses = [];
      for (const [number, username] of names.entries())
        statuses.push((await post("login", ipOf(number), { username, password: wrong })).status);
      return statuses;
    };
    const limited = [401, 401, 401, 429];
    expect(
      await guess(["ada@example.com", "ADA@example.com", "Ada@EXAMPLE.com", "ada@example.com"]),
    ).toEqual(limited);
    expect(await guess(["ada", "ADA", " ada", "Ada"])).toEqual(limited);
  });

  test("at many users from one IP is limited, also across its /64, and a spoofed header does not help", async () => {
    const { post } = await proxiedWorld({ "login-address": few });
    const guess = (number: number, from: string) =>
      post("login", from, { username: `user-${number}@example.com`, password: wrong });
    const same = await Promise.all(
      [1, 2, 3, 4, 5].map((number) => guess(number, `203.0.113.${number}, 198.51.100.1`)),
    );
    expect([countOf(same, 401), countOf(same, 429)]).toEqual([3, 2]);
    const near = await Promise.all(
      [1, 2, 3, 4].map((number) => guess(number, `2001:db8:1:2:${number}::${number}`)),
    );
    expect([countOf(near, 401), countOf(near, 429)]).toEqual([3, 1]);
    expect((await guess(1, "2001:db8:1:3::1")).status).toBe(401);
  });

  test("a success resets the count; too many failures in a row leave only known devices until a reset", async () => {
    const { ctx, logIn } = await proxiedWorld({ "login-streak": few });
    const device = (await logIn(ipOf(0))).headers.get("device-token") ?? "";
    for (const password of [wrong, wrong, PASSWORD, wrong, wrong, wrong])
      expect((await logIn(ipOf(1), password)).status).toBe(password === wrong ? 401 : 200);
    const refused = await logIn(ipOf(2));
    expect([refused.status, refused.body.code]).toEqual([429, "too_many_requests"]);
    expect(refused.body.detail).toContain("login-streak");
    // A token of another user, or a forged one, makes no client a known device.
    const forged = `${device.slice(0, -4)}AAAA`;
    expect((await logIn(ipOf(2), PASSWORD, forged)).status).toBe(429);
    expect(
      (await logIn(ipOf(2), PASSWORD, ctx.devices.sign(crypto.randomUUID(), new Date()))).status,
    ).toBe(429);
    const user = await findCredentials(ctx, "ada@example.com");
    if (!user) throw new Error("ada is gone");
    await setPassword(ctx, { kind: "operator" }, { user, password: "another stable of horses" });
    expect((await logIn(ipOf(2), "another stable of horses")).status).toBe(200);
  });

  test("at a name before a user has it does not lock that user out, whether or not emails must be verified", async () => {
    const limits = { ...policies, "login-streak": few };
    const tryIn = async (here: Awaited<ReturnType<typeof mailWorld>>, name: string) =>
      (await here.anonymous.post("/auth/login", { username: name, password: PASSWORD })).status;
    for (const requireEmailVerification of ["off", "on"] as const) {
      const here = await mailWorld({
        rateLimit: "on",
        trustedProxies: ["127.0.0.1"],
        limits,
        requireEmailVerification,
      });
      const guess = async (username: string) => {
        for (let at = 0; at < 4; at += 1)
          await here.send("POST", "/api/v1/auth/login", {
            headers: { "content-type": "application/json", "x-forwarded-for": ipOf(at) },
            body: JSON.stringify({ username, password: wrong }),
          });
      };
      const names = ["bob@example.com", "bob"];
      for (const name of names) await guess(name);
      await here.anonymous.post("/auth/register", { email: names[0], password: PASSWORD });
      const token = await here.tokenFor("bob@example.com", "verify_email");
      if (requireEmailVerification === "on")
        expect((await here.verify({ token, password: PASSWORD })).status).toBe(204);
      for (const name of names) expect([name, await tryIn(here, name)]).toEqual([name, 200]);
    }
  });

  test("failures are cleared by a success for that name only, and by a new password for both names", async () => {
    const { post, logIn, as } = await proxiedWorld({ "login-streak": few });
    const device = (await logIn(ipOf(0))).headers.get("device-token") ?? "";
    for (const username of ["ada", "ada@example.com"])
      for (let at = 0; at < 4; at += 1)
        await post("login", ipOf(at), { username, password: wrong });
    const enter = (username: string, password: string, from: number) =>
      post("login", ipOf(from), { username, password });
    const known = await logIn(ipOf(1), PASSWORD, device);
    expect((await enter("ada@example.com", PASSWORD, 5)).status).toBe(200);
    expect((await enter("ada", PASSWORD, 6)).status).toBe(429);
    const change = { current_password: PASSWORD, new_password: NEW };
    await as(known.body.access_token).put("/users/me/password", change);
    expect((await enter("ada", NEW, 7)).status).toBe(200);
  });

  test("a lock is cleared by a superuser, which is recorded", async () => {
    const { post, superuser, sql } = await proxiedWorld({ "login-streak": few });
    const root = await superuser();
    const names = ["ada", "ada@example.com"];
    for (const username of names)
      for (let at = 0; at < 4; at += 1)
        await post("login", ipOf(at), { username, password: wrong });
    const [ada] = await sql<{ id: string }[]>`select id from users where username = 'ada'`;
    expect((await root.post(`/users/${ada?.id}/unlock`)).status).toBe(204);
    for (const username of names)
      expect((await post("login", ipOf(9), { username, password: PASSWORD })).status).toBe(200);
    const recorded =
      await sql`select actor_id, subject_id from events where type = 'user.unlocked'`;
    expect([...recorded]).toEqual([{ actor_id: root.id, subject_id: ada?.id }]);
    expect((await root.post(`/users/${crypto.randomUUID()}/unlock`)).status).toBe(404);
  });

  test("a known device has its own ten attempts, then five a minute, from any IP", async () => {
    const { logIn } = await proxiedWorld();
    const device = (await logIn(ipOf(0))).headers.get("device-token") ?? "";
    const guess = async (times: number) => {
      const statuses = [];
      for (let at = 0; at < times; at += 1)
        statuses.push((await logIn(ipOf(at), wrong, device)).status);
      return statuses.filter((status) => status === 401).length;
    };
    expect(await guess(12)).toBe(10);
    setSystemTime(Date.now() + 61_000);
    expect(await guess(7)).toBe(5);
  });

  test("a device that was known before the password changed counts as unknown; the one that changed it is known", async () => {
    setSystemTime();
    const { as, logIn } = await proxiedWorld({ "login-account": few });
    const before = (await logIn(ipOf(0))).headers.get("device-token") ?? "";
    const session = await logIn(ipOf(1));
    const changed = await as(session.body.access_token).put("/users/me/password", {
      current_password: PASSWORD,
      new_password: "another stable of horses",
    });
    const after = changed.headers.get("device-token") ?? "";
    for (let at = 2; at < 5; at += 1)
      expect((await logIn(ipOf(at), PASSWORD, before)).status).toBe(401);
    expect((await logIn(ipOf(5), PASSWORD, before)).status).toBe(429);
    expect((await logIn(ipOf(6), "another stable of horses", after)).status).toBe(200);
  });

  test("at current_password with a stolen access token is limited too", async () => {
    const { newUser } = await proxiedWorld({ login: few });
    const bob = await newUser("bob@example.com");
    const change = () =>
      bob.put("/users/me/password", {
        current_password: wrong,
        new_password: "a new stable of horses",
      });
    const statuses = [];
    for (let at = 0; at < 4; at += 1) statuses.push((await change()).status);
    expect(statuses).toEqual([401, 401, 401, 429]);
  });

  test("at current_password is stopped for the session after too many failures, and for no other session", async () => {
    const { newUser, as, post } = await proxiedWorld({ "login-streak": few });
    const bob = await newUser("bob@example.com");
    const change = (client: Pick<typeof bob, "put">, password: string, next: string) =>
      client.put("/users/me/password", { current_password: password, new_password: next });
    const NEXT = "a new stable of horses";
    for (let at = 0; at < 2; at += 1) expect((await change(bob, wrong, NEXT)).status).toBe(401);
    expect((await change(bob, PASSWORD, NEXT)).status).toBe(204);
    for (let at = 0; at < 3; at += 1) expect((await change(bob, wrong, PASSWORD)).status).toBe(401);
    expect((await change(bob, NEXT, PASSWORD)).status).toBe(429);
    const credentials = { username: "bob@example.com", password: NEXT };
    const { body } = await post("login", ipOf(1), credentials);
    expect((await change(as(body.access_token), NEXT, PASSWORD)).status).toBe(204);
  });

  test("a sign-in that races with a password change creates no known device", async () => {
    setSystemTime();
    const { ctx, logIn, sql } = await proxiedWorld();
    // The sign-in has verified the old password, and waits for the row of the user.
    const { signingIn, waitsSince } = await sql.begin(async (tx) => {
      await tx`select 1 from users for update`;
      const signing = logIn(ipOf(1));
      const isWaiting = async () =>
        (
          await sql`select 1 from pg_stat_activity where wait_event_type = 'Lock'
          and datname = current_database()`
        ).length > 0;
      while (!(await isWaiting())) await Bun.sleep(5);
      const since = new Date();
      await Bun.sleep(5);
      return { signingIn: signing, waitsSince: since };
    });
    const token = (await await signingIn).headers.get("device-token") ?? "";
    expect(ctx.devices.read(token)?.knownSince.getTime()).toBeLessThanOrEqual(waitsSince.getTime());
  });
});
