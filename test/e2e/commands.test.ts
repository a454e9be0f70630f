import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { version } from "../../src/kit/build.ts";
import {
  client,
  command,
  emptyFolder,
  freePort,
  serve,
  shell,
  usedFolder,
} from "../support/program.ts";

setDefaultTimeout(60_000);
const PASSWORD = "correct horse battery staple";

describe("a command", () => {
  test("that succeeds exits with 0", async () => {
    const cwd = emptyFolder();
    expect(await command(["version"])).toEqual({ code: 0, out: `bunker ${version}\n`, err: "" });
    expect(JSON.parse((await command(["version", "--json"])).out)).toEqual({ version });
    expect(JSON.parse((await command(["openapi"])).out).openapi).toBe("3.1.0");
    const migrated = await command(["migrate"], { cwd });
    expect([migrated.code, migrated.out]).toEqual([0, expect.stringMatching(/^applied {2}0000/)]);
    expect(migrated.err).toBe(`Changed: embedded PostgreSQL in ${cwd}/data\n`);
    const again = await command(["migrate"], { cwd });
    const out = "Nothing to do: the database schema is up to date.\n";
    expect(again).toEqual({ code: 0, out, err: "" });
    const status = JSON.parse((await command(["migrate", "status", "--json"], { cwd })).out);
    expect(status).toMatchObject({ applied: expect.arrayContaining(["0000_users"]), pending: [] });
  });

  test("prints its usage, a group lists its commands, and a mistake gets a hint", async () => {
    const said = async (...args: string[]) => {
      const { code, out, err } = await command(args);
      return code === 0 ? out : err;
    };
    expect(await said("--help")).toContain("bunker users create|list|find|show|promote");
    expect(await said("users")).toContain("\n  bunker users promote [--json] <USER>\n");
    for (const args of [
      ["users", "create", "--help"],
      ["users", "create", "ada@example.com", "--bogus", "-h"],
      ["help", "users", "create"],
    ])
      expect(await said(...args)).toMatch(/^USAGE\n {2}bunker users create .*<EMAIL>\n/);
    expect(await said("user", "list")).toContain("Did you mean `users`?\nSee: bunker --help");
    expect(await said("users", "lsit")).toContain("Did you mean `list`?\nSee: bunker users --help");
    expect(await said("promote", "ada")).toContain("Did you mean `users promote`?");
    expect(await said("users", "create", "a@b.c", "--ful-name", "A")).toContain("--full-name?");
    expect(await said("users", "create", "a@b.c", "--username")).toContain("needs a value");
    expect(await said("users", "set-password", "ada", "sentinel")).not.toContain("sentinel");
    for (const name of ["constructor", "__proto__", "-8vFq3hT", "__worker", "sentinel"])
      expect(await said(name)).toStartWith("bunker has no such command.");
    expect(await said("users", "sentinel")).not.toContain("sentinel");
    expect(await said("--secret-key=sentinel")).toStartWith("bunker has no flag --secret-key.");
    expect(await said("version", "--constructor")).toContain("no flag --constructor");
  });

  test("prints colors only if they are wanted", async () => {
    const isColored = async (env: Record<string, string>) =>
      (await command(["--help"], { env })).out.includes("\x1b[");
    expect(await isColored({})).toBe(false);
    expect(await isColored({ FORCE_COLOR: "1" })).toBe(true);
    expect(await isColored({ FORCE_COLOR: "1", NO_COLOR: "1", TERM: "dumb" })).toBe(true);
  });

  test("gives a slow reader all of its output, and prints no stack trace if the reader leaves", async () => {
    const slow = await shell("openapi | (sleep 1; wc -c)");
    expect(Number(slow)).toBeGreaterThan(70_000);
    expect(await shell("openapi 2>&1 >/dev/null | head -c 100")).toBe("");
    // A reader that closes the pipe is not an error.
    expect(await shell("openapi 2>err.txt | head -n 1; cat err.txt; rm err.txt")).toBe("{\n");
  });

  test("that is mistyped exits with 2 and prints the usage", async () => {
    for (const args of [
      ["nothing"],
      ["users", "nobody"],
      ["serve", "now"],
      ["version", "--jsn"],
      ["users", "promote"],
      ["migrate", "up"],
      ["migrate", "status", "now"],
      ["--port", "3000"],
      ["serve", "--port", "3000"],
      ["--env-file"],
    ]) {
      const { code, err, out } = await command(args);
      expect([args, code, out]).toEqual([args, 2, ""]);
      expect(err).toMatch(/--help|--env-file needs/);
    }
  });

  test("accepts no password as an argument", async () => {
    const { code, err } = await command([
      "users",
      "create",
      "a@example.com",
      "--password",
      "sentinel pass phrase",
    ]);
    expect(code).toBe(2);
    expect(err).toContain("not an argument");
    expect(err).not.toContain("sentinel");
  });

  test("without its database exits with 69", async () => {
    const env = { DATABASE_URL: `postgres://nobody:sentinel@127.0.0.1:${await freePort()}/x` };
    for (const args of [["serve"], ["migrate"], ["users", "list"]]) {
      const { code, err } = await command(args, {
        env: { ...env, BUNKER_ENV: "development" },
        cwd: emptyFolder(),
      });
      expect([args, code]).toEqual([args, 69]);
      expect(err).toContain("does not answer (ECONNREFUSED)");
      expect(err).not.toContain("sentinel");
    }
  });

  test("with invalid settings exits with 78 and lists all errors", async () => {
    const { code, err } = await command(["serve"], { env: { PORT: "0", SECRET_KEY: "sentinel" } });
    expect(code).toBe(78);
    expect(err).toContain("PORT must be");
    expect(err).toContain("SECRET_KEY needs");
    expect(err).not.toContain("sentinel");
    const file = join(emptyFolder(), "file");
    writeFileSync(file, "");
    expect((await command(["serve"], { env: { DATA_DIR: join(file, "data") } })).code).toBe(78);
    const MAIL_TEMPLATES = emptyFolder();
    writeFileSync(join(MAIL_TEMPLATES, "de.json"), "{");
    const unusable = await command(["serve"], { env: { MAIL_TEMPLATES } });
    expect([unusable.code, unusable.err]).toEqual([78, expect.stringContaining("de.json")]);
  });

  test("on a port in use exits with 1", async () => {
    const server = await serve({ cwd: await usedFolder() });
    const PORT = new URL(server.url).port;
    const { code, err } = await command(["serve"], {
      env: { PORT, HOST: "127.0.0.1" },
      cwd: await usedFolder(),
    });
    expect(code).toBe(1);
    expect(err).toContain("EADDRINUSE");
  });
});

describe("while a server runs", () => {
  test("a second server is refused with 75 and the process id of the first", async () => {
    const cwd = await usedFolder();
    const server = await serve({ cwd });
    const { code, err } = await command(["serve"], {
      cwd,
      env: { PORT: String(await freePort()) },
    });
    expect(code).toBe(75);
    expect(err).toContain(`pid ${server.pid}`);
    expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
  });

  test("the commands use its database", async () => {
    const cwd = await usedFolder();
    const server = await serve({ cwd });
    const env = { PORT: new URL(server.url).port, HOST: "127.0.0.1" };
    const { logIn, get } = client(server.url);
    const run = (args: string[], input = "") => command(args, { cwd, env, input });

    expect(
      (await run(["users", "create", "ada@example.com", "--superuser"], `${PASSWORD}\n`)).code,
    ).toBe(0);
    const token = await logIn("ada", PASSWORD);
    expect((await get("/users", token)).status).toBe(200);

    const weak = await run(["users", "create", "bob@example.com"], "password\n");
    expect([weak.code, weak.err]).toEqual([
      1,
      expect.stringContaining("password is among the most common"),
    ]);
    const file = join(cwd, "password");
    writeFileSync(file, PASSWORD);
    expect((await run(["users", "create", "bob@example.com", "--password-file", file])).code).toBe(
      0,
    );
    expect(
      (await run(["users", "create", "bob@example.com", "--password-file", file])).err,
    ).toContain("already exists");

    const listed: { email: string }[] = JSON.parse((await run(["users", "list", "--json"])).out);
    expect(listed.map(({ email }) => email)).toEqual(["ada@example.com", "bob@example.com"]);
    expect(JSON.stringify(listed)).not.toContain("argon2");

    expect((await run(["users", "set-password", "BOB"], "another long pass phrase")).code).toBe(0);
    expect(await logIn("bob", "another long pass phrase")).toStartWith("ey");
    expect((await run(["users", "deactivate", "bob@example.com"])).code).toBe(0);
    expect(await logIn("bob", "another long pass phrase")).toBe("account_inactive");
    expect((await run(["users", "deactivate", "ada"])).err).toContain("last active superuser");
    expect((await run(["users", "promote", "nobody-here"])).err).toBe(
      `No user has this email, username or ID in embedded PostgreSQL in ${cwd}/data.\n`,
    );
    // A key id is random. It may begin with a dash and have only letters after it.
    for (const kid of ["-8vFq3hT", "-vFqxhTa", "-h=Fq3hT"]) {
      const { code, err } = await run(["keys", "retire", kid]);
      expect([kid, code, err]).toEqual([kid, 1, "No key has this ID.\n"]);
    }
  });

  test("a user who was locked out is unlocked, and without mail the start says how", async () => {
    const cwd = await usedFolder();
    const LIMITS = "login-streak=3/7776000";
    const server = await serve({ cwd, env: { LIMITS, BUNKER_ENV: "production" } });
    while (!server.said.err.includes("MAIL_URL")) await sleep(10);
    expect(server.said.err).toMatch(/MAIL_URL is not set.*bunker users unlock/);
    const { register, logIn } = client(server.url);
    await register("eve@example.com", PASSWORD);
    for (let at = 0; at < 3; at += 1) await logIn("eve@example.com", "not the password");
    expect(await logIn("eve@example.com", PASSWORD)).toBe("too_many_requests");
    const unlocked = await command(["users", "unlock", "EVE"], { cwd, env: { LIMITS } });
    expect([unlocked.code, unlocked.out]).toEqual([
      0,
      expect.stringMatching(/^Unlocked .*eve\.$/m),
    ]);
    // A running server caches a refusal for a second.
    await sleep(1_100);
    expect(await logIn("eve@example.com", PASSWORD)).toStartWith("ey");
  });

  test("healthcheck calls it directly, not through a proxy of the environment", async () => {
    const isV6 = networkInterfaces()["lo"]?.some(({ address }) => address === "::1") ?? false;
    const server = await serve({ cwd: await usedFolder(), env: { HOST: isV6 ? "::" : "0.0.0.0" } });
    const check = async (HOST: string, PORT: string) => {
      const proxies = { HTTP_PROXY: "http://127.0.0.1:9", no_proxy: "example.com" };
      return (await command(["healthcheck"], { env: { ...proxies, HOST, PORT } })).code;
    };
    const { port } = new URL(server.url);
    for (const host of ["127.0.0.1", "0.0.0.0", ...(isV6 ? ["::1", "::"] : [])])
      expect([host, await check(host, port)]).toEqual([host, 0]);
    expect(await check("127.0.0.1", String(await freePort()))).toBe(1);
  });
});

test("data of another major version is refused with advice, and not changed", async () => {
  const dataDir = join(emptyFolder(), "data");
  mkdirSync(join(dataDir, "cluster"), { recursive: true });
  writeFileSync(join(dataDir, "cluster/PG_VERSION"), "19\n");
  const newer = await command(["serve"], { env: { DATA_DIR: dataDir } });
  expect(newer.code).toBe(78);
  expect(newer.err).toContain("created by PostgreSQL 19");
  expect(newer.err).toContain("newer Bunker");
  writeFileSync(join(dataDir, "cluster/PG_VERSION"), "17\n");
  expect((await command(["serve"], { env: { DATA_DIR: dataDir } })).err).toContain(
    "set DATABASE_URL",
  );
});

test("the first superuser of the settings is created once", async () => {
  const cwd = await usedFolder();
  const env = { FIRST_SUPERUSER_EMAIL: "root@example.com", FIRST_SUPERUSER_PASSWORD: PASSWORD };
  const server = await serve({ cwd, env });
  const { logIn, get } = client(server.url);
  expect((await get("/users", await logIn("root@example.com", PASSWORD))).status).toBe(200);
  await server.end("SIGTERM");
  const again = await serve({
    cwd,
    env: { ...env, FIRST_SUPERUSER_PASSWORD: "some other phrase" },
  });
  expect(await client(again.url).logIn("root@example.com", PASSWORD)).toStartWith("ey");
});

test("a user who already has the email of the first superuser does not become superuser", async () => {
  const cwd = await usedFolder();
  const open = await serve({ cwd });
  await client(open.url).register("root@example.com", "another pass phrase here");
  await open.end("SIGTERM");
  const env = { FIRST_SUPERUSER_EMAIL: "root@example.com", FIRST_SUPERUSER_PASSWORD: PASSWORD };
  const refused = await command(["serve"], {
    cwd,
    env: { ...env, PORT: String(await freePort()) },
  });
  expect(refused.code).toBe(78);
  expect(refused.err).toContain("bunker users promote");
  expect((await command(["users", "promote", "root@example.com"], { cwd })).code).toBe(0);
  const server = await serve({ cwd, env });
  expect(await client(server.url).logIn("root@example.com", PASSWORD)).toBe("invalid_credentials");
});

test("a weakened key is refused", async () => {
  const cwd = await usedFolder();
  writeFileSync(join(cwd, "data/secret_key"), "x");
  const { code, err } = await command(["serve"], { cwd, env: { PORT: String(await freePort()) } });
  expect([code, err]).toEqual([78, expect.stringContaining("secret_key needs at least")]);
});
