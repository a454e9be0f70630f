import { expect, setSystemTime, test } from "bun:test";
import {
  newSecret,
  readRefreshToken,
  writeRefreshToken,
} from "../../src/credentials/refresh-token.ts";
import { Problem } from "../../src/kit/problem.ts";
import type { LimitName } from "../../src/limits/policies.ts";
import { evictLimits, purgeLimits } from "../../src/limits/postgres-counters.ts";
import { logIn } from "../../src/modules/auth/auth.ts";
import { reauthenticate } from "../../src/modules/passwords/passwords.ts";
import { register } from "../../src/modules/registration/registration.ts";
import { getUser } from "../../src/modules/users/users.ts";
import { countOf, few, ipOf, proxiedWorld, wrong } from "../support/proxied-world.ts";
import { PASSWORD, world } from "../support/world.ts";

test("a response reports the limits that apply, and a refusal says when to retry", async () => {
  const { post } = await proxiedWorld();
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

test("a response reports each limit that applies, and a verb consumes only limits that its route declares", async () => {
  const { ctx, newUser } = await proxiedWorld();
  const bob = await newUser("bob@example.com");
  const answer = await bob.put("/users/me/password", {
    current_password: wrong,
    new_password: "a new stable of horses",
  });
  expect(answer.headers.get("ratelimit")).toMatch(/^"requests";r=\d+;t=\d+, "login";r=9;t=60$/);
  const report = { limits: ["register"] as const, addStates: () => {} };
  const stray = ctx.limits.consume(report, [{ limit: "login", who: "bob" }]);
  await expect(stray).rejects.toThrow("the route does not declare login");
});

test("a session may refresh 30 times a minute; a caller who only knows its id consumes none of it", async () => {
  const { newUser, refresh } = await proxiedWorld({ "refresh-session": few });
  let { refreshToken } = await newUser("bob@example.com");
  const { sessionId = "" } = readRefreshToken(refreshToken) ?? {};
  for (let at = 0; at < 5; at += 1) {
    const made = {
      sessionId,
      generation: 0,
      seed: Buffer.from(crypto.getRandomValues(new Uint8Array(16))),
      secret: newSecret(),
    };
    expect((await refresh(writeRefreshToken(made))).status).toBe(401);
  }
  for (let at = 0; at < 3; at += 1) {
    const answer = await refresh(refreshToken);
    expect(answer.status).toBe(200);
    refreshToken = answer.body.refresh_token;
  }
  expect((await refresh(refreshToken)).status).toBe(429);
});

test("a signed-in user has a number of requests a minute, counted in batches down to the last one", async () => {
  const { newUser } = await proxiedWorld({
    requests: { quota: 45, refill: 45, periodSeconds: 60 },
  });
  const bob = await newUser("bob@example.com");
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

test("an attempt that could not be judged is not counted", async () => {
  const { ctx, newUser, sql } = await proxiedWorld({ register: few, login: few });
  const busy = { ...ctx.hashing, run: () => Promise.reject(new Problem("busy")) };
  const origin = (limits: LimitName[]) => ({
    ip: "203.0.113.9",
    clientKey: "203.0.113.9",
    userAgent: null,
    requestId: null,
    deviceTokens: [],
    limits,
    addStates: () => {},
  });
  const busyCtx = { ...ctx, hashing: busy };
  const bob = await newUser("bob@example.com");
  const user = await getUser(ctx, { kind: "operator" }, bob.id);
  const [session] = await sql<{ id: string }[]>`select id from sessions where user_id = ${bob.id}`;
  const verbs = {
    register: () =>
      register(
        busyCtx,
        { kind: "anonymous", origin: origin(["register"]) },
        { email: "eve@example.com", password: PASSWORD },
      ),
    "sign-in": () =>
      logIn(
        busyCtx,
        {
          kind: "anonymous",
          origin: origin(["login", "login-account", "login-streak", "login-address"]),
        },
        { username: "ada", password: PASSWORD },
      ),
    confirmation: () =>
      reauthenticate(
        busyCtx,
        {
          kind: "user",
          user,
          session: { id: session?.id ?? "", createdAt: new Date() },
          origin: origin(["login", "login-streak"]),
        },
        PASSWORD,
      ),
  };
  for (const verb of Object.values(verbs))
    for (let at = 0; at < 6; at += 1) await expect(verb()).rejects.toMatchObject({ code: "busy" });
});

test("a refunded row may be purged, although its window is long", async () => {
  const { ctx, logIn, sql } = await proxiedWorld();
  await logIn(ipOf(1));
  const [streak] = await sql`select 1 from limits where ends_at > now() + interval '1 day'`;
  expect(streak).toBeUndefined();
  setSystemTime(Date.now() + 3_700_000);
  await purgeLimits(ctx);
  expect(await sql`select 1 from limits`).toHaveLength(0);
});

test("failed sign-ins are kept for 90 days, whether or not a user has the name", async () => {
  const { ctx, post, sql } = await proxiedWorld();
  for (const username of ["nobody@example.com", "ada@example.com"])
    await post("login", ipOf(1), { username, password: wrong });
  setSystemTime(Date.now() + 89 * 86_400_000);
  await purgeLimits(ctx);
  expect(await sql`select 1 from limits`).toHaveLength(2);
  setSystemTime(Date.now() + 2 * 86_400_000);
  await purgeLimits(ctx);
  expect(await sql`select 1 from limits`).toHaveLength(0);
});

test("the table has a maximum number of rows, and evicts those with the lowest counts that end first", async () => {
  const { ctx, sql } = await proxiedWorld();
  await sql`truncate limits`;
  await sql`insert into limits (key, spent, granted, since, ends_at)
    select decode(lpad(to_hex(n), 32, '0'), 'hex'), 1, 1, now(), now() + make_interval(mins => n)
    from generate_series(1, 12500) as n`;
  const evict = () => evictLimits(ctx, 2000);
  expect([await evict(), await evict(), await evict()]).toEqual([10_000, 500, 0]);
  const [left] = await sql`select count(*)::int as rows,
    (min(ends_at) - now()) > interval '10499 minutes' as last from limits`;
  expect(left).toEqual({ rows: 2000, last: true });
});

test("a bucket that refills slowly is not filled by requests that are not counted", async () => {
  const { newUser } = await proxiedWorld({ requests: { quota: 40, refill: 2, periodSeconds: 60 } });
  const bob = await newUser("bob@example.com");
  const ask = async (times: number) =>
    countOf(await Promise.all(Array.from({ length: times }, () => bob.get("/users/me"))), 200);
  expect(await ask(60)).toBe(40);
  setSystemTime(Date.now() + 61_000);
  expect(await ask(60)).toBeLessThanOrEqual(3);
});

test("expired rows are purged, and a wrong clock locks nobody out", async () => {
  const { ctx, logIn, post } = await proxiedWorld({ register: few });
  const register = (number: number) =>
    post("register", ipOf(1), { email: `q${number}@example.com`, password: PASSWORD });
  setSystemTime(Date.now() + 40 * 86_400_000);
  for (const number of [1, 2, 3]) expect((await register(number)).status).toBe(201);
  expect((await register(4)).status).toBe(429);
  setSystemTime();
  expect((await register(5)).status).toBe(201);
  await logIn(ipOf(2), wrong);
  expect(await purgeLimits(ctx)).toBe(0);
  setSystemTime(Date.now() + 91 * 86_400_000);
  expect(await purgeLimits(ctx)).toBeGreaterThan(3);
  expect(await purgeLimits(ctx)).toBe(0);
});

test("CLIENT_ADDRESS_HEADER replaces X-Forwarded-For", async () => {
  const { post } = await proxiedWorld({ register: few }, { clientAddressHeader: "fly-client-ip" });
  let made = 0;
  const register = (headers: Record<string, string>) => {
    made += 1;
    return post("register", headers, { email: `p${made}@example.com`, password: PASSWORD });
  };
  const statuses: number[] = [];
  for (let at = 0; at < 4; at += 1)
    statuses.push((await register({ "fly-client-ip": ipOf(at) })).status);
  for (let at = 0; at < 4; at += 1)
    statuses.push((await register({ "x-forwarded-for": ipOf(at) })).status);
  // Ada sent no header.
  expect(statuses).toEqual([201, 201, 201, 201, 201, 201, 429, 429]);
});

test("RATE_LIMIT=off disables all limits, and no response has limit headers", async () => {
  const { post } = await world({ rateLimit: "off", trustedProxies: ["127.0.0.1"] }).then(
    (here) => ({
      post: (number: number) =>
        here.send("POST", "/api/v1/auth/register", {
          headers: { "content-type": "application/json", "x-forwarded-for": ipOf(1) },
          body: JSON.stringify({ email: `r${number}@example.com`, password: PASSWORD }),
        }),
    }),
  );
  const answers = await Promise.all(Array.from({ length: 22 }, (_, number) => post(number)));
  expect(countOf(answers, 201)).toBe(22);
  expect(answers[0]?.headers.get("ratelimit")).toBeNull();
});
