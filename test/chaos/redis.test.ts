/** Two instances on one Redis and on the PostgreSQL server of E2E_DATABASE_URL. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "../../src/db/db.ts";
import { client, command, emptyFolder, freePort, type Serving, serve } from "../support/program.ts";
import { hasRedis, type RedisServer, redisServer } from "../support/redis.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(120_000);
const PASSWORD = "correct horse battery staple";
const home = process.env["E2E_DATABASE_URL"];
const name = `bunker_e2e_redis_${process.pid}`;
const admin = home ? connect({ url: home, caFile: undefined }, { max: 1 }) : undefined;
const DATABASE_URL = Object.assign(new URL(home ?? "postgres://none"), {
  pathname: `/${name}`,
}).href;

const countOf = (answers: Response[], status: number) =>
  answers.filter((answer) => answer.status === status).length;

const redisOf = async ({ url }: Serving) =>
  ((await (await fetch(`${url}/readyz`)).json()) as { redis: string }).redis;

describe.if(home !== undefined && hasRedis)("with Redis", () => {
  let redis: RedisServer;
  let servers: [Serving, Serving];
  const database = () => connect({ url: DATABASE_URL, caFile: undefined }, { max: 1 });
  const env = () => ({
    DATABASE_URL,
    REDIS_URL: redis.url,
    SECRET_KEY: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    PUBLIC_URL: "https://accounts.example.com",
    TRUSTED_PROXIES: "127.0.0.1",
  });
  const post = (instance: number, path: string, { from = "", ...body }) =>
    fetch(`${servers[instance % 2]?.url}/api/v1/auth/${path}`, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        "x-forwarded-for": from,
      },
      body: JSON.stringify(body),
    });
  /** Needs no password hash, for which a busy machine may have no time. */
  const requestLink = (n: number, from: string) =>
    post(n, "password/forgot", { from, email: `p${n}-${from}@example.com` });

  beforeAll(async () => {
    await admin?.unsafe(`create database ${name}`);
    redis = await redisServer();
  });
  afterAll(async () => {
    redis.thaw();
    redis.kill();
    await admin?.unsafe(`drop database if exists ${name} with (force)`);
    await admin?.end();
  });

  const startBoth = async () => {
    servers = await Promise.all([
      serve({ env: env(), cwd: emptyFolder() }),
      serve({ env: env(), cwd: emptyFolder() }),
    ]);
    for (const server of servers) await until(async () => (await redisOf(server)) === "ok");
  };

  test("it counts windows of an hour at most; the database counts failed sign-ins in a row", async () => {
    await startBoth();
    const sql = database();
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, n) => requestLink(n, "198.51.100.1")),
    );
    expect([countOf(answers, 202), countOf(answers, 429)]).toEqual([20, 40]);
    expect((await sql`select 1 from limits`).length).toBe(0);
    await post(0, "login", {
      from: "198.51.100.1",
      username: "p0-198.51.100.1@example.com",
      password: "wrong",
    });
    expect((await sql`select 1 from limits`).length).toBe(1);
    await sql.end();
  });

  test("when it is killed or frozen, no request fails, and no limit is lost", async () => {
    await startBoth();
    for (const [from, strike, heal] of [
      ["198.51.100.2", redis.kill, redis.up],
      ["198.51.100.3", redis.freeze, async () => redis.thaw()],
    ] as const) {
      const answers: Promise<Response>[] = [];
      for (let n = 0; n < 120; n += 1) {
        answers.push(requestLink(n, from));
        if (n === 25) strike();
        await sleep(10);
      }
      const came = await Promise.all(answers);
      expect(countOf(came, 202) + countOf(came, 429)).toBe(came.length);
      expect(countOf(came, 202)).toBeGreaterThanOrEqual(20);
      expect(countOf(came, 202)).toBeLessThanOrEqual(40);
      await heal();
      for (const server of servers) await until(async () => (await redisOf(server)) === "ok");
    }
  });

  test("a deactivated user is refused by the other instance within a second, also while it is frozen", async () => {
    await startBoth();
    const email = "ada@example.com";
    await client(servers[0].url).register(email, PASSWORD);
    const token = await client(servers[0].url).logIn(email, PASSWORD);
    const look = () => client(servers[1].url).get("/users/me", token);
    const sql = database();
    for (const during of [() => {}, redis.freeze]) {
      expect((await look()).status).toBe(200);
      during();
      await sql`update users set is_active = false where email = ${email}`;
      await sleep(1_000);
      expect((await look()).status).toBe(401);
      await sql`update users set is_active = true where email = ${email}`;
      await sleep(1_000);
    }
    redis.thaw();
    await sql.end();
  });
});

describe.if(hasRedis)("a Redis that is unavailable at the start", () => {
  test("delays no request, is logged once, and is used once it is available", async () => {
    const redis = await redisServer();
    redis.kill();
    const server = await serve({ env: { REDIS_URL: redis.url }, cwd: emptyFolder() });
    expect((await client(server.url).register("ada@example.com", PASSWORD)).status).toBe(201);
    expect(await redisOf(server)).toBe("away");
    await sleep(2_000);
    await redis.up();
    await until(async () => (await redisOf(server)) === "ok");
    expect(server.said.err.match(/Redis cannot be used/g)).toHaveLength(1);
    expect(server.said.out).toContain(`Redis      ${new URL(redis.url).host} (not connected`);
    expect(await server.end("SIGTERM")).toBe(0);
    redis.kill();
  });
});

describe.if(hasRedis)("a Redis that refuses", () => {
  test.each([
    // Bun does not report more about a missing password than about a closed connection.
    ["requirepass", "sentinel", "ERR_REDIS_CONNECTION_CLOSED"],
    ["maxmemory", "1", "OOM"],
  ])("by %s is not used, and the log says why", async (name, value, word) => {
    const redis = await redisServer();
    await redis.ask("CONFIG", "SET", name, value);
    const server = await serve({ env: { REDIS_URL: redis.url }, cwd: emptyFolder() });
    await until(async () => server.said.err.includes("Redis cannot be used"));
    expect(server.said.err).toContain(`"reason":"${word}"`);
    expect(server.said.err).not.toContain("sentinel");
    expect(await server.end("SIGTERM")).toBe(0);
    redis.kill();
  });
});

test.each(["localhost:6379", "http://localhost:6379", "redis://:a@b@host/x"])(
  "an invalid REDIS_URL is refused at the start: %s",
  async (REDIS_URL) => {
    const env = { REDIS_URL, PORT: String(await freePort()) };
    const { code, err } = await command(["serve"], { env, cwd: emptyFolder() });
    expect([code, err]).toEqual([78, expect.stringMatching(/REDIS_URL (must|has)/)]);
  },
);
