/** Sessions on four instances with the PostgreSQL server of E2E_DATABASE_URL. */
import {
  afterAll,
  beforeAll,
  beforeEach,
  describe,
  expect,
  setDefaultTimeout,
  test,
} from "bun:test";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "../../src/db/db.ts";
import { badNetwork, type Trouble } from "../support/bad-network.ts";
import { command, emptyFolder, rounds, serve } from "../support/program.ts";

setDefaultTimeout(120_000);
const PASSWORD = "correct horse battery staple";

const home = process.env["E2E_DATABASE_URL"];
const name = `bunker_e2e_sessions_${process.pid}`;
const admin = home ? connect({ url: home, caFile: undefined }, { max: 1 }) : undefined;
const { hostname = "", port = "" } = home ? new URL(home) : {};
const network = await badNetwork({ host: hostname, port: Number(port || 5432) });
const through = { pathname: `/${name}`, host: `127.0.0.1:${network.port}` };
const env = {
  // Without TLS, so that the broken network can read the protocol.
  DATABASE_URL: home ? `${Object.assign(new URL(home), through).href}?sslmode=disable` : "",
  SECRET_KEY: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
  PUBLIC_URL: "https://accounts.example.com",
  BUNKER_ENV: "production",
  RATE_LIMIT: "off",
};

interface Answer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: a test reads the members that it expects
  body: any;
}

describe.if(home !== undefined)("on four instances", () => {
  let urls: string[] = [];

  beforeAll(async () => void (await admin?.unsafe(`create database ${name}`)));
  beforeEach(async () => {
    const servers = await Promise.all([1, 2, 3, 4].map(() => serve({ env, cwd: emptyFolder() })));
    urls = servers.map(({ url }) => url);
  });
  afterAll(async () => {
    network.close();
    await admin?.unsafe(`drop database if exists ${name} with (force)`);
    await admin?.end();
  });

  const call = async (
    instance: number,
    request: string,
    { token, body, key }: { token?: string; body?: object; key?: string } = {},
  ): Promise<Answer> => {
    const [method = "", path = ""] = request.split(" ");
    const headers = new Headers({ "content-type": "application/json" });
    if (token) headers.set("authorization", `Bearer ${token}`);
    if (key) headers.set("idempotency-key", key);
    const url = `${urls[instance % urls.length]}/api/v1${path}`;
    const init = { method, headers, ...(body ? { body: JSON.stringify(body) } : {}) };
    const response = await fetch(url, init);
    const text = await response.text();
    return { status: response.status, body: text === "" ? undefined : JSON.parse(text) };
  };
  const signIn = async (username: string) =>
    (await call(0, "POST /auth/login", { body: { username, password: PASSWORD } })).body;
  const newUser = async (username: string) => {
    const body = { email: `${username}@example.com`, username, password: PASSWORD };
    const { body: user } = await call(0, "POST /auth/register", { body });
    return { ...(await signIn(username)), id: user.id };
  };

  test("a hundred refreshes of one token give one successor, and end no session", async () => {
    let token = (await newUser("many")).refresh_token;
    for (let round = 0; round < rounds; round += 1) {
      const answers = await Promise.all(
        Array.from({ length: 100 }, (_, n) =>
          call(n, "POST /auth/refresh", { body: { refresh_token: token } }),
        ),
      );
      expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
      const successors = new Set(answers.map(({ body }) => body.refresh_token));
      expect(successors.size).toBe(1);
      [token] = [...successors];
      const access = answers.at(-1)?.body.access_token;
      expect((await call(round, "GET /users/me", { token: access })).status).toBe(200);
    }
  });

  test("of fifty registrations with one Idempotency-Key one succeeds, and every retry gets its response", async () => {
    const made = new Set<string>();
    for (let round = 0; round < rounds; round += 1) {
      const body = { email: `retried-${round}@example.com`, password: PASSWORD };
      const register = (instance: number) =>
        call(instance, "POST /auth/register", { body, key: `key-${round}` });
      const answers = await Promise.all(Array.from({ length: 50 }, (_, n) => register(n)));
      answers.push(await register(round));
      const [first, ...others] = answers.filter(({ status }) => status === 201);
      for (const other of others) expect(other.body).toEqual(first?.body);
      const waiting = answers.filter(({ status }) => status !== 201);
      for (const each of waiting) expect(each.body.code).toBe("request_in_progress");
      made.add(first?.body.id);
    }
    expect(made.size).toBe(rounds);
  });

  const statuses = (token: string, path = "/users/me") =>
    Promise.all(urls.map(async (_, n) => (await call(n, `GET ${path}`, { token })).status));

  /** How many milliseconds after a change each instance still returns the old state. */
  const untilEffective = async (token: string, path: string, after: number) => {
    const from = performance.now();
    const felt = urls.map(async (_, n) => {
      while ((await call(n, `GET ${path}`, { token })).status !== after);
      return performance.now() - from;
    });
    return Math.max(...(await Promise.all(felt)));
  };

  const people = async (prefix: string) => {
    const env2 = { env, cwd: emptyFolder() };
    await newUser(`${prefix}_chief`);
    await command(["users", "promote", `${prefix}_chief`], env2);
    const root: string = (await signIn(`${prefix}_chief`)).access_token;
    const byRoot = (request: string, body?: object) =>
      call(1, request, { token: root, ...(body ? { body } : {}) });
    const second = await newUser(`${prefix}_second`);
    await command(["users", "promote", `${prefix}_second`], env2);
    return { byRoot, second };
  };

  const troubles: Trouble[] = ["none", "cut", "black-holed", "silent"];
  for (const trouble of troubles)
    test(`whatever revokes a token takes effect within a second on every instance; network: ${trouble}`, async () => {
      network.set("none");
      const prefix = trouble.replace("-", "_");
      const { byRoot, second } = await people(prefix);
      const ways = {
        deactivation: (id: string) => byRoot(`PATCH /users/${id}`, { is_active: false }),
        deletion: (id: string) => byRoot(`DELETE /users/${id}`),
        password: (_: string, other: string) =>
          call(1, "PUT /users/me/password", {
            token: other,
            body: { current_password: PASSWORD, new_password: "a stable full of horses" },
          }),
        logout: (_: string, other: string) =>
          call(1, "POST /auth/logout", { token: other, body: { scope: "others" } }),
      };
      const felt: Record<string, number> = {};
      for (const [way, take] of Object.entries(ways)) {
        const one = await newUser(`${prefix}_${way}`);
        const other = await signIn(`${prefix}_${way}`);
        network.set("none");
        // Long enough that only notifications keep the cache entry fresh.
        for (let again = 0; again < 12; again += 1) {
          expect(await statuses(one.access_token)).toEqual([200, 200, 200, 200]);
          await sleep(100);
        }
        network.set(trouble);
        expect((await take(one.id, other.access_token)).status).toBeLessThan(300);
        felt[way] = await untilEffective(one.access_token, "/users/me", 401);
      }
      expect(await statuses(second.access_token, "/users")).toEqual([200, 200, 200, 200]);
      await byRoot(`PATCH /users/${second.id}`, { is_superuser: false });
      felt["demotion"] = await untilEffective(second.access_token, "/users", 403);
      network.set("none");
      const shown = Object.entries(felt).map(([way, ms]) => `${way} ${ms.toFixed(0)} ms`);
      console.log(`felt on four instances (${trouble}): ${shown.join(", ")}`);
      expect(Object.values(felt).filter((ms) => ms > 1000)).toEqual([]);
    });
});
