import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  client,
  command,
  emptyFolder,
  freePort,
  isBinary,
  postgresIn,
  type Run,
  serve,
  usedFolder,
} from "../support/program.ts";

setDefaultTimeout(60_000);
const PASSWORD = "correct horse battery staple";
const isRoot = process.getuid?.() === 0;

/**
 * The tour of the README: from an empty folder to a superuser, and a second start on the same data.
 */
async function tour(run: Run): Promise<void> {
  const cwd = emptyFolder();
  // The issuer of a token is the public URL, which includes the port.
  const env = { ...run.env, PORT: String(await freePort()) };
  const first = await serve({ ...run, env, cwd });
  const ada = client(first.url);
  // It serves a moment before it prints that.
  for (let at = 0; at < 100 && !first.said.out.includes("Try "); at += 1) await sleep(20);
  expect(first.said.out).toContain("/docs");
  expect(first.said.out).toContain("users create you@example.com --superuser");
  expect((await ada.register("ada@example.com", PASSWORD)).status).toBe(201);
  const token = await ada.logIn("ada@example.com", PASSWORD);
  expect((await ada.get("/users", token)).status).toBe(403);
  const promoted = await command(["users", "promote", "ada@example.com"], { ...run, cwd });
  const changed = `Changed: embedded PostgreSQL in ${cwd}/data\n`;
  expect([promoted.code, promoted.err]).toEqual([0, changed]);
  expect(await (await ada.getAllowed("/users", token)).json()).toMatchObject([
    { is_superuser: true },
  ]);
  expect(await first.end("SIGINT")).toBe(0);
  expect(postgresIn(cwd)).toEqual([]);

  const second = await serve({ ...run, env, cwd });
  expect(second.said.out).not.toContain("users promote");
  expect((await client(second.url).get("/users/me", token)).status).toBe(200);
  expect(await second.end("SIGTERM")).toBe(0);
  expect(postgresIn(cwd)).toEqual([]);
  expect(existsSync(join(cwd, "data/cluster"))).toBe(true);
  expect(statSync(join(cwd, "data/cluster")).mode & 0o777).toBe(0o700);
}

describe("the tour works", () => {
  test("as the OS user of the tests", () => tour({}));

  test.if(isRoot && isBinary)(
    "as an account that no passwd file knows, with no shell in reach",
    () => tour({ uid: 54_321, env: { PATH: "" } }),
  );

  test.if(isRoot)("as root, where no other OS user can reach the data", async () => {
    const closed = join(emptyFolder(), "closed");
    mkdirSync(closed, { mode: 0o700 });
    const server = await serve({ env: { DATA_DIR: join(closed, "data") } });
    expect(server.said.err).toContain("user namespace");
    expect((await client(server.url).register("ada@example.com", PASSWORD)).status).toBe(201);
    await server.end("SIGKILL");
    const again = await serve({ env: { DATA_DIR: join(closed, "data") } });
    expect(await client(again.url).logIn("ada", PASSWORD)).toStartWith("ey");
    expect(await again.end("SIGTERM")).toBe(0);
  });

  test("in a folder with a path that is too long for a socket", async () => {
    const deep = join(emptyFolder(), "d".repeat(80), "e".repeat(80));
    mkdirSync(deep, { recursive: true });
    const server = await serve({ cwd: deep });
    expect((await client(server.url).register("ada@example.com", PASSWORD)).status).toBe(201);
    expect((await command(["users", "list"], { cwd: deep })).out).toContain("ada@example.com");
    expect(await server.end("SIGTERM")).toBe(0);
  });
});

test("a request in flight gets its response before the server ends", async () => {
  const server = await serve({ cwd: await usedFolder() });
  const answer = client(server.url).register("ada@example.com", PASSWORD);
  await sleep(5);
  const ended = server.end("SIGTERM");
  expect((await answer).status).toBe(201);
  expect(await ended).toBe(0);
});
