import { describe, expect, setSystemTime, test } from "bun:test";
import { purgeLimits } from "../../src/db/limits/counts.ts";
import { policies } from "../../src/kit/limits.ts";
import { setPassword } from "../../src/modules/users/passwords.ts";
import { findCredentials } from "../../src/modules/users/users.ts";
import { PASSWORD, world } from "../support/world.ts";

/** A world behind a proxy, in which everybody says where they are. */
async function street(limits: Partial<typeof policies> | object = {}) {
  const here = await world({ trustedProxies: ["127.0.0.1"], limits: { ...policies, ...limits } });
  const post = (path: string, from: string | Record<string, string>, body: object) =>
    here.send("POST", `/api/v1/auth/${path}`, {
      headers: {
        "content-type": "application/json",
        ...(typeof from === "string" ? { "x-forwarded-for": from } : from),
      },
      body: JSON.stringify(body),
    });
  const logIn = (from: string, password = PASSWORD, device = "") =>
    post(
      "login",
      { "x-forwarded-for": from, "device-token": device },
      { username: "ada@example.com", password },
    );
  await here.person();
  return { ...here, post, logIn };
}
const addressOf = (number: number) => `198.51.${number >> 8}.${number & 255}`;
const countOf = (answers: { status: number }[], status: number) =>
  answers.filter((answer) => answer.status === status).length;
const wrong = "not the password at all";
const few = { quota: 3, refill: 3, periodSeconds: 60 };

describe("guessing", () => {
  test("from 200 addresses at one account gets 30 tries, and keeps its owner's client out of nothing", async () => {
    const { logIn } = await street();
    const device = (await logIn("203.0.113.7")).headers.get("device-token") ?? "";
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, number) => logIn(addressOf(number), wrong)),
    );
    expect([countOf(answers, 401), countOf(answers, 429)]).toEqual([30, 170]);
    expect((await logIn("203.0.113.7")).status).toBe(429);
    expect((await logIn("203.0.113.7", PASSWORD, device)).status).toBe(200);
    // Who is known has shown that the account is in its owner's hands: nobody is kept waiting for the guesses of others.
    expect((await logIn("203.0.113.8")).status).toBe(200);
  });

  test("at a name that nobody has looks the same", async () => {
    const { post } = await street({ "login-account": few });
    const guess = (number: number) =>
      post("login", addressOf(number), { username: "nobody@example.com", password: wrong });
    const answers = await Promise.all([1, 2, 3, 4, 5].map(guess));
    expect([countOf(answers, 401), countOf(answers, 429)]).toEqual([3, 2]);
  });

  test("at one account under two names is counted once", async () => {
    const { post } = await street({ "login-account": few });
    const names = ["ada", "ADA@example.com", "ada@example.com", "Ada"];
    const statuses = [];
    for (const [number, username] of names.entries())
      statuses.push((await post("login", addressOf(number), { username, password: wrong })).status);
    expect(statuses).toEqual([401, 401, 401, 429]);
  });

  test("at many accounts from one address ends too, also from all over its /64, and a spoofed header does not help", async () => {
    const { post } = await street({ "login-address": few });
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

  test("a success in between begins the row of failures anew; too long a row leaves only known clients, until a reset", async () => {
    const { ctx, logIn } = await street({ "login-streak": few });
    const device = (await logIn(addressOf(0))).headers.get("device-token") ?? "";
    for (const password of [wrong, wrong, PASSWORD, wrong, wrong, wrong])
      expect((await logIn(addressOf(1), password)).status).toBe(password === wrong ? 401 : 200);
    const refused = await logIn(addressOf(2));
    expect([refused.status, refused.body.code]).toEqual([429, "too_many_requests"]);
    expect(refused.body.detail).toContain("login-streak");
    // The token of another account, or a forged one, makes nobody known.
    const forged = `${device.slice(0, -4)}AAAA`;
    expect((await logIn(addressOf(2), PASSWORD, forged)).status).toBe(429);
    expect(
      (await logIn(addressOf(2), PASSWORD, ctx.devices.sign(crypto.randomUUID()))).status,
    ).toBe(429);
    const user = await findCredentials(ctx, "ada@example.com");
    if (!user) throw new Error("ada is gone");
    await setPassword(ctx, { kind: "operator" }, { user, password: "another stable of horses" });
    expect((await logIn(addressOf(2), "another stable of horses")).status).toBe(200);
  });

  test("a known client has its own ten tries, then five a minute, wherever it is", async () => {
    const { logIn } = await street();
    const device = (await logIn(addressOf(0))).headers.get("device-token") ?? "";
    const guess = async (times: number) => {
      const statuses = [];
      for (let at = 0; at < times; at += 1)
        statuses.push((await logIn(addressOf(at), wrong, device)).status);
      return statuses.filter((status) => status === 401).length;
    };
    expect(await guess(12)).toBe(10);
    setSystemTime(Date.now() + 61_000);
    expect(await guess(7)).toBe(5);
  });

  test("at current_password with somebody's access token ends too", async () => {
    const { person } = await street({ login: few });
    const bob = await person("bob@example.com");
    const change = () =>
      bob.put("/users/me/password", {
        current_password: wrong,
        new_password: "a new stable of horses",
      });
    const statuses = [];
    for (let at = 0; at < 4; at += 1) statuses.push((await change()).status);
    expect(statuses).toEqual([401, 401, 401, 429]);
  });
});

test("an answer says which limits it met, and a refusal when to come again", async () => {
  const { post } = await street();
  const register = (number: number, from = "198.51.100.1") =>
    post("register", from, { email: `p${number}@example.com`, password: PASSWORD });
  const first = await register(0);
  expect(first.headers.get("ratelimit-policy")).toBe('"register";q=20;w=3600');
  expect(first.headers.get("ratelimit")).toBe('"register";r=19;t=3600');
  const rest = await Promise.all(Array.from({ length: 24 }, (_, number) => register(number + 1)));
  expect([countOf(rest, 201), countOf(rest, 429)]).toEqual([19, 5]);
  const refused = await register(99);
  expect(refused.body).toMatchObject({ status: 429, code: "too_many_requests" });
  expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(3500);
  expect(refused.headers.get("ratelimit")).toStartWith('"register";r=0;t=');
  expect((await register(100, "198.51.100.2")).status).toBe(201);
  setSystemTime(Date.now() + 3_601_000);
  expect((await register(101)).status).toBe(201);
});

test("a session is refreshed 30 times a minute; whoever merely knows its id uses nothing of it up", async () => {
  const { person, refresh } = await street({ "refresh-session": few });
  let { refreshToken } = await person("bob@example.com");
  const [id, ...others] = [refreshToken, refreshToken, refreshToken].map((token, at) =>
    at === 0 ? token : `${token.slice(0, 40)}${"A".repeat(token.length - 40)}`,
  );
  for (const token of others) expect((await refresh(token)).status).toBe(401);
  expect(id).toBe(refreshToken);
  for (let at = 0; at < 3; at += 1) {
    const answer = await refresh(refreshToken);
    expect(answer.status).toBe(200);
    refreshToken = answer.body.refresh_token;
  }
  expect((await refresh(refreshToken)).status).toBe(429);
});

test("who is signed in has so many requests a minute, counted in lumps to the last one", async () => {
  const { person } = await street({ requests: { quota: 45, refill: 45, periodSeconds: 60 } });
  const bob = await person("bob@example.com");
  const ask = async (times: number) =>
    countOf(await Promise.all(Array.from({ length: times }, () => bob.get("/users/me"))), 200);
  expect(await ask(30)).toBe(30);
  expect(await ask(30)).toBe(15);
  const refused = await bob.get("/users/me");
  expect([refused.status, refused.headers.get("ratelimit")?.slice(0, 15)]).toEqual([
    429,
    '"requests";r=0;',
  ]);
  setSystemTime(Date.now() + 61_000);
  expect(await ask(50)).toBe(45);
});

test("what counts no more is purged, and a clock that was wrong locks nobody out", async () => {
  const { ctx, logIn, post } = await street({ register: few });
  const register = (number: number) =>
    post("register", addressOf(1), { email: `q${number}@example.com`, password: PASSWORD });
  setSystemTime(Date.now() + 40 * 86_400_000);
  for (const number of [1, 2, 3]) expect((await register(number)).status).toBe(201);
  expect((await register(4)).status).toBe(429);
  setSystemTime();
  expect((await register(5)).status).toBe(201);
  await logIn(addressOf(2), wrong);
  expect(await purgeLimits(ctx)).toBe(0);
  setSystemTime(Date.now() + 91 * 86_400_000);
  expect(await purgeLimits(ctx)).toBeGreaterThan(3);
  expect(await purgeLimits(ctx)).toBe(0);
});

test("RATE_LIMIT=off limits nothing, and no answer speaks of limits", async () => {
  const { post } = await world({ rateLimit: "off", trustedProxies: ["127.0.0.1"] }).then(
    (here) => ({
      post: (number: number) =>
        here.send("POST", "/api/v1/auth/register", {
          headers: { "content-type": "application/json", "x-forwarded-for": addressOf(1) },
          body: JSON.stringify({ email: `r${number}@example.com`, password: PASSWORD }),
        }),
    }),
  );
  const answers = await Promise.all(Array.from({ length: 22 }, (_, number) => post(number)));
  expect(countOf(answers, 201)).toBe(22);
  expect(answers[0]?.headers.get("ratelimit")).toBeNull();
});
