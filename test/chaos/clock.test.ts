/** The clock of the machine jumps by five minutes and forty days, forward and back. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Glob } from "bun";
import { emptyFolder, freePort, serve } from "../support/program.ts";

setDefaultTimeout(120_000);
const PASSWORD = "correct horse battery staple";
const [library] = [...new Glob("usr/lib/*/faketime/libfaketime.so.1").scanSync("/")];

/**
 * The jumps in order, and whether the tokens from before each are then valid: an access token for
 * 15 minutes and not before its issue, a refresh token for 30 days. The clock of the embedded
 * database does not jump.
 */
const jumps: [string, [access: number, refresh: number]][] = [
  ["+5m", [200, 200]],
  ["-5m", [401, 200]],
  ["+0", [200, 200]],
  ["+40d", [401, 401]],
  ["+0", [401, 200]],
  ["-40d", [401, 200]],
  ["+0", [401, 401]],
];

describe.if(library !== undefined)("a clock that jumps", () => {
  for (const ALGORITHM of ["HS256", "EdDSA"])
    test(`causes no 5xx, and no session lasts longer than it should, with ${ALGORITHM}`, async () => {
      const cwd = emptyFolder();
      const file = join(cwd, "clock");
      const set = async (offset: string) => {
        writeFileSync(`${file}.new`, offset);
        renameSync(`${file}.new`, file);
        // Some jobs run each second, and read the clock too.
        await sleep(1_200);
      };
      writeFileSync(file, "+0");
      const METRICS_PORT = String(await freePort());
      const server = await serve({
        cwd,
        env: {
          LD_PRELOAD: `/${library}`,
          FAKETIME_TIMESTAMP_FILE: file,
          FAKETIME_NO_CACHE: "1",
          FAKETIME_DONT_FAKE_MONOTONIC: "1",
          ALGORITHM,
          METRICS_PORT,
          RATE_LIMIT: "on",
          PASSWORD_HASH: "m=7168,t=5",
        },
      });
      const seen: number[] = [];
      const call = async (path: string, init: RequestInit = {}) => {
        const answer = await fetch(`${server.url}${path}`, init);
        seen.push(answer.status);
        const body = (await answer.json().catch(() => ({}))) as Record<string, string>;
        return { status: answer.status, body, date: answer.headers.get("date") };
      };
      const post = (path: string, body: object) =>
        call(`/api/v1${path}`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify(body),
        });
      const me = (token = "") =>
        call("/api/v1/users/me", { headers: { authorization: `Bearer ${token}` } });
      const logIn = async () =>
        (await post("/auth/login", { username: "ada@example.com", password: PASSWORD })).body;
      await post("/auth/register", { email: "ada@example.com", password: PASSWORD });
      const first = await logIn();
      let pair = await logIn();
      for (const [at, [jump, accepted]] of jumps.entries()) {
        await set(jump);
        const read = await me(pair["access_token"]);
        const refreshed = await post("/auth/refresh", { refresh_token: pair["refresh_token"] });
        if (refreshed.status === 200) pair = refreshed.body;
        await post("/auth/register", { email: `person${at}@example.com`, password: PASSWORD });
        await post("/auth/password/forgot", { email: "ada@example.com" });
        await call("/readyz");
        expect([jump, read.status, refreshed.status]).toEqual([jump, ...accepted]);
        if (jump === "+40d") {
          // Access tokens have expired, and so have sessions that were unused for a month.
          expect((await me(first["access_token"])).status).toBe(401);
          const spent = await post("/auth/refresh", { refresh_token: first["refresh_token"] });
          expect(spent.status).toBe(401);
        }
        // At any time, a user with the password can sign in, and stays signed in.
        pair = await logIn();
        expect((await me(pair["access_token"])).status).toBe(200);
      }
      expect(seen.filter((status) => status >= 500)).toEqual([]);
      expect(server.said.err).not.toContain("Job failed");
      expect(server.said.err).not.toContain('"code":"internal"');
      const metricsText = await (await fetch(`http://127.0.0.1:${METRICS_PORT}/metrics`)).text();
      expect(metricsText).not.toMatch(
        /bunker_job_duration_seconds_count\{[^}]*"failure"[^}]*\} [1-9]/,
      );
      expect(await server.end("SIGTERM")).toBe(0);
    });
});
