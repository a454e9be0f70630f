import { expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { needs } from "../support/needs.ts";
import { client, command, emptyFolder, serve, usedFolder } from "../support/program.ts";
import { redisServer } from "../support/redis.ts";

setDefaultTimeout(60_000);
const PASSWORD = "correct horse battery staple";

test("commands show, find, change and delete users, and each change names the database", async () => {
  const cwd = await usedFolder();
  const server = await serve({ cwd });
  const run = async (args: string[], input = "") => {
    const { code, out, err } = await command(["users", ...args], { cwd, input });
    return { code, out, isChange: err === `Changed: embedded PostgreSQL in ${cwd}/data\n`, err };
  };
  expect((await run(["list"])).out).toContain("There is no user.");
  const made = await run(
    ["create", "ada_l@example.com", "--json", "--full-name", "-Ada", "--superuser"],
    PASSWORD,
  );
  expect([made.isChange, JSON.parse(made.out)]).toEqual([
    true,
    expect.objectContaining({ email: "ada_l@example.com", full_name: "-Ada" }),
  ]);
  await run(["create", "bob@example.com"], PASSWORD);
  const [found] = JSON.parse((await run(["find", "-ad", "--json"])).out);
  expect(found).toMatchObject({ email: "ada_l@example.com" });
  expect((await run(["find", "%"])).out).toStartWith("No user has this");
  expect((await run(["show", "bob"])).out).toMatch(/^email +bob@example\.com$/m);
  for (const [verb, field, value] of [
    ["promote", "is_superuser", true],
    ["demote", "is_superuser", false],
    ["deactivate", "is_active", false],
    ["activate", "is_active", true],
  ] as const) {
    const changed = await run([verb, "bob", "--json"]);
    expect([verb, JSON.parse(changed.out)[field], changed.isChange]).toEqual([verb, value, true]);
  }
  const again = await run(["activate", "bob"]);
  expect([again.code, again.err]).toEqual([0, ""]);
  expect(again.out).toContain("Nothing to change");
  const asked = await run(["delete", "bob"]);
  expect([asked.code, asked.err]).toEqual([2, expect.stringContaining("add --yes")]);
  expect(await run(["delete", "bob", "--yes"])).toMatchObject({ code: 0, isChange: true });
  expect((await run(["show", "bob"])).err).toContain("No user has this");
  await server.end("SIGTERM");
});

test("a command beside the first start of a server waits until the database is ready", async () => {
  const cwd = emptyFolder();
  const starting = serve({ cwd });
  while (!existsSync(join(cwd, "data/bunker.lock"))) await sleep(5);
  const { code, out, err } = await command(["users", "list", "--json"], { cwd });
  expect([code, out, err]).toEqual([0, "[]\n", ""]);
  await (await starting).end("SIGTERM");
});

test("a password from a file of Windows equals the one on standard input", async () => {
  const cwd = await usedFolder();
  const server = await serve({ cwd });
  const { logIn } = client(server.url);
  const file = join(cwd, "password");
  const set = (text: string, isFile: boolean) => {
    writeFileSync(file, text);
    const args = ["users", "set-password", "ada", ...(isFile ? ["--password-file", file] : [])];
    return command(args, { cwd, input: isFile ? "" : text });
  };
  await command(["users", "create", "ada@example.com"], { cwd, input: PASSWORD });
  for (const isFile of [true, false]) {
    const phrase = `a long phrase ${isFile}`;
    expect((await set(`\uFEFF${phrase}\r\n`, isFile)).code).toBe(0);
    expect(await logIn("ada", phrase)).toStartWith("ey");
    const { code, err } = await set(`${PASSWORD} \n`, isFile);
    expect([code, err]).toEqual([1, expect.stringContaining("begins or ends with a space")]);
  }
  await server.end("SIGTERM");
});

needs("redis-server").test("unlock clears the failed sign-ins that Redis counts", async () => {
  const [cwd, redis] = [await usedFolder(), await redisServer()];
  const env = { REDIS_URL: redis.url, LIMITS: "login-account=2/900" };
  const server = await serve({ cwd, env });
  const { register, logIn } = client(server.url);
  await register("ada@example.com", PASSWORD);
  for (const _ of [1, 2]) expect(await logIn("ada", "wrong")).toBe("invalid_credentials");
  expect(await logIn("ada", PASSWORD)).toBe("too_many_requests");
  const unlocked = await command(["users", "unlock", "ada"], { cwd, env });
  expect([unlocked.code, unlocked.err]).toEqual([0, expect.stringMatching(/^Changed: .*\n$/)]);
  // For a second, the server refuses from its own memory.
  await sleep(1_100);
  expect(await logIn("ada", PASSWORD)).toStartWith("ey");

  redis.kill();
  const alone = await command(["users", "unlock", "ada"], { cwd, env });
  expect([alone.code, alone.err]).toEqual([0, expect.stringContaining("Redis cannot be used")]);
  await server.end("SIGTERM");
});
