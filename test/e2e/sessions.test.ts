/** Sessions over four instances on one database: the server that E2E_DATABASE_URL names. */
import {
  afterAll,
  beforeAll,
  beforeEach,
  describe,
  expect,
  setDefaultTimeout,
  test,
} from "bun:test";
import { connect } from "../../src/db/db.ts";
import { command, emptyFolder, rounds, serve } from "../support/program.ts";

setDefaultTimeout(120_000);
const PASSWORD = "correct horse battery staple";

const home = process.env["E2E_DATABASE_URL"];
const name = `bunker_e2e_sessions_${process.pid}`;
const admin = home ? connect({ url: home, caFile: undefined }, { max: 1 }) : undefined;
const env = {
  DATABASE_URL: home ? Object.assign(new URL(home), { pathname: `/${name}` }).href : "",
  SECRET_KEY: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
  PUBLIC_URL: "https://accounts.example.com",
  BUNKER_ENV: "production",
};

interface Answer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: a test reads what it expects, and fails where that is not there
  body: any;
}

describe.if(home !== undefined)("over four instances", () => {
  let urls: string[] = [];

  beforeAll(async () => void (await admin?.unsafe(`create database ${name}`)));
  beforeEach(async () => {
    const servers = await Promise.all([1, 2, 3, 4].map(() => serve({ env, cwd: emptyFolder() })));
    urls = servers.map(({ url }) => url);
  });
  afterAll(async () => {
    await admin?.unsafe(`drop database if exists ${name} with (force)`);
    await admin?.end();
  });

  const call = async (
    instance: number,
    request: string,
    { token, body }: { token?: string; body?: object } = {},
  ): Promise<Answer> => {
    const [method = "", path = ""] = request.split(" ");
    const headers = new Headers({ "content-type": "application/json" });
    if (token) headers.set("authorization", `Bearer ${token}`);
    const url = `${urls[instance % urls.length]}/api/v1${path}`;
    const init = { method, headers, ...(body ? { body: JSON.stringify(body) } : {}) };
    const response = await fetch(url, init);
    const text = await response.text();
    return { status: response.status, body: text === "" ? undefined : JSON.parse(text) };
  };
  const signIn = async (username: string) =>
    (await call(0, "POST /auth/login", { body: { username, password: PASSWORD } })).body;
  const person = async (username: string) => {
    const body = { email: `${username}@example.com`, username, password: PASSWORD };
    const { body: user } = await call(0, "POST /auth/register", { body });
    return { ...(await signIn(username)), id: user.id };
  };

  test("a hundred refreshes of one token give one successor, and sign nobody out", async () => {
    let token = (await person("many")).refresh_token;
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

  test("whatever takes a token's power is felt on every instance", async () => {
    await person("chief");
    await command(["users", "promote", "chief"], { env, cwd: emptyFolder() });
    const root = (await signIn("chief")).access_token;
    const second = await person("second");
    await command(["users", "promote", "second"], { env, cwd: emptyFolder() });
    const statuses = (token: string, path = "/users/me") =>
      Promise.all(urls.map(async (_, n) => (await call(n, `GET ${path}`, { token })).status));

    const ways = {
      deactivation: (id: string) =>
        call(1, `PATCH /users/${id}`, { token: root, body: { is_active: false } }),
      deletion: (id: string) => call(1, `DELETE /users/${id}`, { token: root }),
      password: (_: string, other: string) =>
        call(1, "PUT /users/me/password", {
          token: other,
          body: { current_password: PASSWORD, new_password: "a stable full of horses" },
        }),
      "end of session": (_: string, other: string) =>
        call(1, "POST /auth/logout", { token: other, body: { scope: "others" } }),
    };
    for (const [way, take] of Object.entries(ways)) {
      const username = way.replaceAll(" ", "_");
      const one = await person(username);
      const other = await signIn(username);
      expect(await statuses(one.access_token)).toEqual([200, 200, 200, 200]);
      expect((await take(one.id, other.access_token)).status).toBeLessThan(300);
      expect([way, await statuses(one.access_token)]).toEqual([way, [401, 401, 401, 401]]);
    }
    expect(await statuses(second.access_token, "/users")).toEqual([200, 200, 200, 200]);
    await call(2, `PATCH /users/${second.id}`, { token: root, body: { is_superuser: false } });
    expect(await statuses(second.access_token, "/users")).toEqual([403, 403, 403, 403]);
  });
});
