/** Keys of two instances on the PostgreSQL server of E2E_DATABASE_URL. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "../../src/db/db.ts";
import { command, emptyFolder, serve } from "../support/program.ts";

setDefaultTimeout(120_000);
const PASSWORD = "correct horse battery staple";
const OLD = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const NEW = "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752";
const home = process.env["E2E_DATABASE_URL"];
const name = `bunker_e2e_keys_${process.pid}`;
const admin = home ? connect({ url: home, caFile: undefined }, { max: 1 }) : undefined;
const env = {
  DATABASE_URL: home ? Object.assign(new URL(home), { pathname: `/${name}` }).href : "",
  SECRET_KEY: OLD,
  PUBLIC_URL: "https://accounts.example.com",
  BUNKER_ENV: "production",
  RATE_LIMIT: "off",
};

describe.if(home !== undefined)("keys of two instances", () => {
  beforeAll(async () => void (await admin?.unsafe(`create database ${name}`)));
  afterAll(async () => {
    await admin?.unsafe(`drop database if exists ${name} with (force)`);
    await admin?.end();
  });

  const post = async (url: string, path: string, body: object) => {
    const headers = { "content-type": "application/json" };
    const answer = await fetch(`${url}/api/v1/auth/${path}`, {
      method: "POST",
      headers,
      body: JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(`${path} answered ${answer.status}`);
    return (await answer.json()) as { access_token: string; refresh_token: string };
  };
  const statusOf = async (url: string, token: string) =>
    (await fetch(`${url}/api/v1/users/me`, { headers: { authorization: `Bearer ${token}` } }))
      .status;
  const kidOf = (token: string): string =>
    JSON.parse(Buffer.from(token.split(".")[0] ?? "", "base64url").toString()).kid;

  /** Four users who sign in, then read and sometimes refresh, on both servers in turns. */
  const startLoad = (servers: { url: string }[]) => {
    const seen = { failed: [] as string[], kids: new Set<string>(), requests: 0 };
    let isOver = false;
    const use = async (lane: number) => {
      let { access_token: token, refresh_token: refreshToken } = await logIn(
        servers[lane % 2]?.url ?? "",
      );
      for (let at = 0; !isOver; at += 1) {
        const url = servers[at % 2]?.url ?? "";
        const status = await statusOf(url, token);
        if (status !== 200) seen.failed.push(`${status} for ${kidOf(token)}`);
        if (at % 50 === 0) {
          const next = await post(url, "refresh", { refresh_token: refreshToken });
          [token, refreshToken] = [next.access_token, next.refresh_token];
        }
        seen.kids.add(kidOf(token));
        seen.requests += 1;
      }
    };
    const lanes = Promise.all([0, 1, 2, 3].map(use));
    const end = async () => {
      isOver = true;
      await lanes;
      return seen;
    };
    return { end };
  };

  const start = (more: Record<string, string>) =>
    serve({ env: { ...env, ...more }, cwd: emptyFolder() });
  const pair = { ALGORITHM: "EdDSA" };
  const logIn = (url: string) =>
    post(url, "login", { username: "ada@example.com", password: PASSWORD });
  const keys = (words: string[], more: Record<string, string> = {}) =>
    command(["keys", ...words], { env: { ...env, ...pair, ...more }, cwd: emptyFolder() });

  test("changing the algorithm, one instance after the other, fails no token of either", async () => {
    const before = await start({});
    await post(before.url, "register", { email: "ada@example.com", password: PASSWORD });
    const old = await logIn(before.url);
    const after = await start(pair);
    const young = await post(after.url, "refresh", { refresh_token: old.refresh_token });
    expect(kidOf(young.access_token)).not.toBe(kidOf(old.access_token));
    for (const { url } of [before, after])
      for (const { access_token: token } of [old, young])
        expect(await statusOf(url, token)).toBe(200);
    // The last token of the old key expires while the new instance has it cached as verified.
    await before.end("SIGTERM");
    const database = connect({ url: env.DATABASE_URL, caFile: undefined }, { max: 1 });
    const kid = kidOf(old.access_token);
    await database`update key_uses set accepted_until = now() where kid = ${kid}`;
    await database.end();
    await sleep(6_000);
    expect(await statusOf(after.url, old.access_token)).toBe(401);
    expect(await statusOf(after.url, young.access_token)).toBe(200);
  });

  test("under load, from one algorithm to the next and back, one instance after the other", async () => {
    const servers = [await start({}), await start({})];
    const load = startLoad(servers);
    for (const ALGORITHM of ["EdDSA", "ES256", "HS256"])
      for (const at of [0, 1]) {
        const before = servers[at];
        servers[at] = await start({ ALGORITHM });
        await sleep(1_000);
        await before?.end("SIGTERM");
      }
    const { failed, kids, requests } = await load.end();
    expect([failed.slice(0, 3), kids.size]).toEqual([[], 3]);
    console.log(
      `change of algorithm: 3 times under ${requests} requests, ${failed.length} failed, ${kids.size} keys seen`,
    );
  });

  test("rotation under load fails no request", async () => {
    const servers = [await start(pair), await start(pair)];
    // It was just published: other services may not know it yet.
    const early = await keys(["rotate"]);
    expect([early.code, early.err]).toEqual([1, expect.stringContaining("ten minutes ago")]);
    const load = startLoad(servers);
    for (let round = 0; round < 3; round += 1) {
      await sleep(500);
      expect((await keys(["rotate", "--now"])).code).toBe(0);
      await sleep(6_000);
    }
    const { failed, kids, requests } = await load.end();
    expect([failed.slice(0, 3), kids.size >= 4]).toEqual([[], true]);
    console.log(
      `key rotation: 3 times under ${requests} requests, ${failed.length} failed, ${kids.size} keys seen`,
    );
  });

  test("another SECRET_KEY decrypts the same key pairs while the old one is listed, and then without it", async () => {
    const old = await start(pair);
    const { access_token: token } = await logIn(old.url);
    const renewed = await start({ ...pair, SECRET_KEY: NEW, SECRET_KEYS: OLD });
    await sleep(6_000);
    for (const { url } of [old, renewed]) {
      expect(await statusOf(url, token)).toBe(200);
      expect(kidOf((await logIn(url)).access_token)).toBe(kidOf(token));
    }
    await Promise.all([old.end("SIGTERM"), renewed.end("SIGTERM")]);
    const alone = await start({ ...pair, SECRET_KEY: NEW });
    expect(await statusOf(alone.url, token)).toBe(200);
    expect(kidOf((await logIn(alone.url)).access_token)).toBe(kidOf(token));
  });

  test("a leaked key can be retired, but not while it signs, nor with another SECRET_KEY", async () => {
    const secret = { SECRET_KEY: NEW };
    const { url } = await start({ ...pair, ...secret });
    const { access_token: token } = await logIn(url);
    for (const words of [
      ["rotate", "--now"],
      ["retire", kidOf(token)],
    ]) {
      const { code, err } = await keys(words);
      expect([code, err]).toEqual([1, expect.stringContaining("another SECRET_KEY")]);
    }
    const refused = await keys(["retire", kidOf(token)], secret);
    expect([refused.code, refused.err]).toEqual([
      1,
      expect.stringContaining("is the current one of its algorithm"),
    ]);
    expect((await keys(["rotate", "--now"], secret)).code).toBe(0);
    expect((await keys(["retire", kidOf(token)], secret)).code).toBe(0);
    await sleep(6_000);
    expect(await statusOf(url, token)).toBe(401);
    expect(await statusOf(url, (await logIn(url)).access_token)).toBe(200);
  });
});
