/** Rate limits of four instances on the PostgreSQL server of E2E_DATABASE_URL. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { createConnection } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "../../src/db/db.ts";
import { emptyFolder, serve } from "../support/program.ts";

setDefaultTimeout(120_000);
const PASSWORD = "correct horse battery staple";
const home = process.env["E2E_DATABASE_URL"];
const name = `bunker_e2e_limits_${process.pid}`;
const admin = home ? connect({ url: home, caFile: undefined }, { max: 1 }) : undefined;
const env = {
  DATABASE_URL: home ? Object.assign(new URL(home), { pathname: `/${name}` }).href : "",
  SECRET_KEY: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
  PUBLIC_URL: "https://accounts.example.com",
  BUNKER_ENV: "production",
  TRUSTED_PROXIES: "127.0.0.1",
};

/** Sends a sign-in and closes the connection before the response. */
function hangUp(url: string, username: string): Promise<void> {
  const { hostname, port } = new URL(url);
  const body = JSON.stringify({ username, password: "not the password at all" });
  const { promise, resolve } = Promise.withResolvers<void>();
  const socket = createConnection({ host: hostname, port: Number(port) }, () => {
    const head = `POST /api/v1/auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}`;
    socket.write(`${head}\r\n\r\n${body}`, () => socket.destroy());
  });
  socket.on("error", () => {}).on("close", () => resolve());
  return promise;
}

describe.if(home !== undefined)("rate limits of several instances", () => {
  beforeAll(async () => void (await admin?.unsafe(`create database ${name}`)));
  afterAll(async () => {
    await admin?.unsafe(`drop database if exists ${name} with (force)`);
    await admin?.end();
  });

  test("a client that disconnects at once is counted like any other", async () => {
    const { url } = await serve({
      env: { ...env, TRUSTED_PROXIES: "", LIMITS: "login-address=20/900" },
      cwd: emptyFolder(),
    });
    for (let at = 0; at < 40; at += 1) await hangUp(url, `nobody-${at}@example.com`);
    await sleep(2_500);
    const answer = await fetch(`${url}/api/v1/auth/login`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ username: "somebody@example.com", password: PASSWORD }),
    });
    expect([answer.status, await answer.json()]).toEqual([
      429,
      expect.objectContaining({ detail: expect.stringContaining("login-address") }),
    ]);
  });

  test("all instances together allow the limit, and the owner's known device still signs in", async () => {
    const servers = await Promise.all([1, 2, 3, 4].map(() => serve({ env, cwd: emptyFolder() })));
    const ask = (instance: number, path: string, { from = "", device = "", ...body }) =>
      fetch(`${servers[instance % 4]?.url}/api/v1/auth/${path}`, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          "x-forwarded-for": from,
          ...(device === "" ? {} : { cookie: `other=1; bunker_device=${device}` }),
        },
        body: JSON.stringify(body),
      });
    /** Retries if the service is busy: such an attempt does not count. */
    const post: typeof ask = async (...asked) => {
      for (;;) {
        const answer = await ask(...asked);
        if (answer.status !== 503) return answer;
        await sleep(1_000);
      }
    };
    const countOf = (answers: Response[], status: number) =>
      answers.filter((answer) => answer.status === status).length;

    const registrations = await Promise.all(
      Array.from({ length: 60 }, (_, n) =>
        post(n, "register", {
          from: "198.51.100.1",
          email: `p${n}@example.com`,
          password: PASSWORD,
        }),
      ),
    );
    expect([countOf(registrations, 201), countOf(registrations, 429)]).toEqual([20, 40]);

    await post(0, "register", {
      from: "198.51.100.2",
      email: "ada@example.com",
      password: PASSWORD,
    });
    const logIn = (n: number, from: string, more: { password?: string; device?: string } = {}) =>
      post(n, "login", { from, username: "ada@example.com", password: PASSWORD, ...more });
    const cookie = (await logIn(0, "203.0.113.7")).headers.get("set-cookie") ?? "";
    expect(cookie).toContain("; HttpOnly; SameSite=Lax; Secure");
    const device = /^__Host-bunker_device=([^;]+)/.exec(cookie)?.[1] ?? "";
    const guesses = await Promise.all(
      Array.from({ length: 200 }, (_, n) =>
        logIn(n, `192.0.2.${n}`, { password: "not the password at all" }),
      ),
    );
    expect([countOf(guesses, 401), countOf(guesses, 429)]).toEqual([15, 185]);
    expect((await logIn(1, "203.0.113.8")).status).toBe(429);
    const known = await logIn(2, "203.0.113.8", { device });
    expect(known.status).toBe(200);

    const { access_token: token } = (await known.json()) as { access_token: string };
    const me = await Promise.all(
      Array.from({ length: 1_600 }, (_, n) =>
        fetch(`${servers[n % 4]?.url}/api/v1/users/me`, {
          headers: { authorization: `Bearer ${token}` },
        }),
      ),
    );
    // The first batch of each instance is not counted.
    expect(countOf(me, 200)).toBeGreaterThanOrEqual(600);
    expect(countOf(me, 200)).toBeLessThanOrEqual(690);
  });
});
