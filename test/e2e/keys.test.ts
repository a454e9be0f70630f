/** Keys over two instances on one database: the server that E2E_DATABASE_URL names. */
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

describe.if(home !== undefined)("keys over two instances", () => {
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

  test("rotation under load fails no request: of the algorithm, of the pairs, and of the secret", async () => {
    const cwd = emptyFolder();
    const start = (more: Record<string, string>) =>
      serve({ env: { ...env, ...more }, cwd: emptyFolder() });
    const shared = await start({});
    await post(shared.url, "register", { email: "ada@example.com", password: PASSWORD });
    const first = await post(shared.url, "login", {
      username: "ada@example.com",
      password: PASSWORD,
    });
    await shared.end("SIGTERM");

    const pair = { ALGORITHM: "EdDSA" };
    const servers = await Promise.all([start(pair), start(pair)]);
    // The algorithm changed: what HS256 has signed goes on.
    for (const { url } of servers) expect(await statusOf(url, first.access_token)).toBe(200);

    const failed: string[] = [];
    const kids = new Set<string>();
    let requests = 0;
    let isOver = false;
    const use = async (lane: number) => {
      let { access_token: token, refresh_token: refreshToken } = await post(
        servers[lane % 2]?.url ?? "",
        "login",
        {
          username: "ada@example.com",
          password: PASSWORD,
        },
      );
      for (let at = 0; !isOver; at += 1) {
        const url = servers[at % 2]?.url ?? "";
        const status = await statusOf(url, token);
        if (status !== 200) failed.push(`${status} for ${kidOf(token)}`);
        if (at % 50 === 0) {
          const next = await post(url, "refresh", { refresh_token: refreshToken });
          [token, refreshToken] = [next.access_token, next.refresh_token];
        }
        kids.add(kidOf(token));
        requests += 1;
      }
    };
    const load = Promise.all([0, 1, 2, 3].map(use));
    for (let round = 0; round < 3; round += 1) {
      await sleep(500);
      expect((await command(["keys", "rotate"], { env: { ...env, ...pair }, cwd })).code).toBe(0);
      await sleep(6_000);
    }
    isOver = true;
    await load;
    expect([failed.slice(0, 3), kids.size >= 4]).toEqual([[], true]);
    console.log(
      `key rotation: 3 times under ${requests} requests, ${failed.length} failed, ${kids.size} keys seen`,
    );

    const last = await post(servers[0]?.url ?? "", "login", {
      username: "ada@example.com",
      password: PASSWORD,
    });
    await servers[0]?.end("SIGTERM");
    // Another SECRET_KEY on one of them, the old one listed: both go on, with the same pairs.
    const renewed = await start({ ...pair, SECRET_KEY: NEW, SECRET_KEYS: OLD });
    for (const { url } of [renewed, servers[1] ?? renewed])
      expect(await statusOf(url, last.access_token)).toBe(200);
    await sleep(6_000);
    for (const { url } of [renewed, servers[1] ?? renewed]) {
      const again = await post(url, "login", { username: "ada@example.com", password: PASSWORD });
      expect(kidOf(again.access_token)).toBe(kidOf(last.access_token));
    }
    await Promise.all([renewed.end("SIGTERM"), servers[1]?.end("SIGTERM")]);
    // And the old one dropped.
    const alone = await start({ ...pair, SECRET_KEY: NEW });
    expect(await statusOf(alone.url, last.access_token)).toBe(200);
    const listed = await command(["keys", "list", "--json"], {
      env: { ...env, ...pair, SECRET_KEY: NEW },
      cwd,
    });
    const retired = JSON.parse(listed.out).find(
      ({ state }: { state: string }) => state === "current",
    );
    const refused = await command(["keys", "retire", retired.kid], {
      env: { ...env, ...pair, SECRET_KEY: NEW },
      cwd,
    });
    expect([refused.code, refused.err]).toEqual([
      1,
      expect.stringContaining("is the current one of its algorithm"),
    ]);
    await command(["keys", "rotate"], { env: { ...env, ...pair, SECRET_KEY: NEW }, cwd });
    await command(["keys", "retire", retired.kid], {
      env: { ...env, ...pair, SECRET_KEY: NEW },
      cwd,
    });
    await sleep(6_000);
    expect(await statusOf(alone.url, last.access_token)).toBe(401);
  });
});
