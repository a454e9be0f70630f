import { expect, test } from "bun:test";
import {
  newSecret,
  readRefreshToken,
  refreshSeeds,
  writeRefreshToken,
} from "../../src/credentials/refresh-token.ts";
import { countOf, ipOf, proxiedWorld } from "../support/proxied-world.ts";
import { PASSWORD, world } from "../support/world.ts";

const ip = ipOf(7);
const random = (bytes: number) => Buffer.from(crypto.getRandomValues(new Uint8Array(bytes)));

/** A network of many clients behind one IP, one of which sends made-up tokens. */
async function network() {
  const here = await proxiedWorld();
  const call = (path: string, body?: object, authorization?: string) =>
    here.send(body ? "POST" : "GET", `/api/v1${path}`, {
      headers: {
        "x-forwarded-for": ip,
        ...(authorization ? { authorization: `Bearer ${authorization}` } : {}),
        ...(body ? { "content-type": "application/json" } : {}),
      },
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
  const { body } = await call("/auth/login", { username: "ada", password: PASSWORD });
  const ada = { access: String(body.access_token), refresh: String(body.refresh_token) };
  const { sessionId = "" } = readRefreshToken(ada.refresh) ?? {};
  /** Well formed, with its own seed, secret and tag, for a session that exists. */
  const madeUp = () =>
    writeRefreshToken({ sessionId, generation: 0, seed: random(16), secret: newSecret() });
  const times = (count: number, act: (at: number) => Promise<{ status: number }>) =>
    Promise.all(Array.from({ length: count }, (_, at) => act(at)));
  const revoke = (token: string) =>
    here.send("POST", "/oauth/revoke", {
      headers: { "x-forwarded-for": ip, "content-type": "application/x-www-form-urlencoded" },
      body: new URLSearchParams({ token }).toString(),
    });
  return { ...here, call, ada, madeUp, times, revoke };
}

test("600 made-up refresh tokens do not lock out a client that shares their IP", async () => {
  const { call, ada, madeUp, times } = await network();
  const refresh = (token: string) => call("/auth/refresh", { refresh_token: token });
  const answers = await times(700, (at) => refresh(at % 2 === 0 ? `rt_${at}` : madeUp()));
  expect([countOf(answers, 401), countOf(answers, 429)]).toEqual([600, 100]);
  const honest = await refresh(ada.refresh);
  expect([honest.status, honest.headers.get("ratelimit")?.split(";")[0]]).toEqual([
    200,
    '"refresh-session"',
  ]);
  expect((await refresh(honest.body.refresh_token)).status).toBe(200);
});

test("a refresh token without proof that we issued it counts by IP, and still continues its session", async () => {
  const { call, ada, sql } = await network();
  const token = readRefreshToken(ada.refresh);
  if (!token) throw new Error("the token of a sign-in can be read");
  // As of a session from before these seeds, or with a SECRET_KEY that is no longer listed.
  const seed = random(16);
  const hash = new Bun.CryptoHasher("sha256").update(seed).digest();
  await sql`update sessions set seed_hash = ${hash} where id = ${token.sessionId}`;
  const older = writeRefreshToken({ ...token, seed });
  const answer = await call("/auth/refresh", { refresh_token: older });
  expect([answer.status, answer.headers.get("ratelimit")?.split(";")[0]]).toEqual([
    200,
    '"refresh-address"',
  ]);
});

test("a seed proves the session that it was issued for, also with an older SECRET_KEY", () => {
  const [old, young, other] = [random(32), random(32), random(32)];
  const sessionId = crypto.randomUUID();
  const seed = refreshSeeds([old]).create(sessionId);
  expect(refreshSeeds([young, old]).isOurs({ sessionId, seed })).toBe(true);
  expect(refreshSeeds([young, other]).isOurs({ sessionId, seed })).toBe(false);
  expect(refreshSeeds([old]).isOurs({ sessionId: crypto.randomUUID(), seed })).toBe(false);
  expect(refreshSeeds([old]).create(sessionId)).not.toEqual(seed);
});

test("1,200 made-up access tokens do not lock out a client that shares their IP", async () => {
  const { call, ada, madeUp, times, revoke, pass } = await network();
  const me = (token: string) => call("/users/me", undefined, token);
  const verify = (token: string) => call("/auth/email/verify", { token: "ot_x" }, token);
  const logOut = (token: string) => call("/auth/logout", {}, token);
  const letter = ada.access.at(-2) === "A" ? "B" : "A";
  const forged = `${ada.access.slice(0, -2)}${letter}${ada.access.at(-1)}`;
  const answers = await times(1_400, (at) => {
    const send = [me, logOut, verify, revoke][at % 4] ?? me;
    return send([forged, "x", madeUp()][at % 3] ?? "");
  });
  expect(countOf(answers, 429)).toBe(200);
  const statuses = async (send: (token: string) => Promise<{ status: number }>) =>
    Promise.all([forged, ada.access].map(async (token) => (await send(token)).status));
  expect(await statuses(me)).toEqual([429, 200]);
  pass(901_000);
  const more = await times(1_200, () => me(forged));
  expect(countOf(more, 401)).toBe(1_200);
  // Expired, at each kind of route.
  expect(await statuses(me)).toEqual([429, 401]);
  expect(await statuses(logOut)).toEqual([429, 401]);
  expect(await statuses(verify)).toEqual([429, 401]);
  expect(await statuses(revoke)).toEqual([429, 200]);
  const spent = await call("/auth/logout", { refresh_token: madeUp() });
  expect(spent.status).toBe(429);
  expect((await call("/auth/logout", { refresh_token: ada.refresh })).status).toBe(204);
  expect((await call("/auth/logout", { refresh_token: ada.refresh })).status).toBe(401);
});

test("an old token consumes none of its user's requests", async () => {
  const { call, ada, times, pass } = await network();
  const { body: fresh } = await call("/auth/refresh", { refresh_token: ada.refresh });
  pass(60_000);
  const { body } = await call("/auth/refresh", { refresh_token: fresh.refresh_token });
  pass(880_000);
  const answers = await times(700, () => call("/users/me", undefined, ada.access));
  expect([countOf(answers, 401), countOf(answers, 429)]).toEqual([600, 100]);
  expect((await call("/users/me", undefined, body.access_token)).status).toBe(200);
});

test("the holder of a token cannot give the session another seed, which would count by IP", async () => {
  const { newUser, refresh } = await world();
  const { refreshToken } = await newUser();
  const token = readRefreshToken(refreshToken);
  if (!token) throw new Error("not a refresh token");
  const changed = writeRefreshToken({ ...token, seed: random(16) });
  expect((await refresh(changed)).body.code).toBe("invalid_refresh_token");
  expect((await refresh(refreshToken)).status).toBe(200);
});
