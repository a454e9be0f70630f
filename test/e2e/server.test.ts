/** On the PostgreSQL server of E2E_DATABASE_URL. Each test has its own database. */
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawn, spawnSync } from "node:child_process";
import { chownSync, existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "../../src/db/db.ts";
import { needs } from "../support/needs.ts";
import { client, command, emptyFolder, freePort, serve } from "../support/program.ts";

setDefaultTimeout(60_000);
const PASSWORD = "correct horse battery staple";
const SECRET_KEY = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const home = process.env["E2E_DATABASE_URL"];
const admin = home ? connect({ url: home, caFile: undefined }, { max: 1 }) : undefined;
const made: string[] = [];

afterAll(async () => {
  for (const name of made) await admin?.unsafe(`drop database if exists ${name} with (force)`);
  await admin?.end();
});

/** The environment of a server with an empty database. */
async function onServer(): Promise<Record<string, string>> {
  const name = `bunker_e2e_${process.pid}_${made.length}`;
  made.push(name);
  await admin?.unsafe(`create database ${name}`);
  const url = Object.assign(new URL(home ?? ""), { pathname: `/${name}` }).href;
  return {
    DATABASE_URL: url,
    SECRET_KEY,
    PUBLIC_URL: "https://accounts.example.com",
    BUNKER_ENV: "production",
  };
}

describe.if(home !== undefined)("on a server", () => {
  test("commands create no data directory and no secret key", async () => {
    const cwd = emptyFolder();
    const { DATABASE_URL = "" } = await onServer();
    const env = { DATABASE_URL, BUNKER_ENV: "development" };
    expect((await command(["migrate", "status", "--json"], { cwd, env })).code).toBe(0);
    const { code, err } = await command(["migrate"], { cwd, env });
    expect([code, err]).toEqual([
      0,
      expect.stringMatching(/^Changed: PostgreSQL at .*bunker_e2e_/),
    ]);
    const listed = await command(["users", "list"], { cwd, env });
    expect([listed.code, listed.err]).toEqual([66, expect.stringContaining(`${cwd}/data`)]);
    expect(readdirSync(cwd)).toEqual([]);
    const known = await command(["users", "list"], { cwd, env: { ...env, SECRET_KEY } });
    expect([known.code, known.out]).toEqual([0, expect.stringContaining("There is no user.")]);
  });

  test("the tour works, and nothing is written to the disk", async () => {
    const cwd = emptyFolder();
    const env = await onServer();
    const server = await serve({ env, cwd });
    const { register, logIn, get, getAllowed } = client(server.url);
    expect((await register("ada@example.com", PASSWORD)).status).toBe(201);
    const token = await logIn("ada", PASSWORD);
    expect((await get("/users", token)).status).toBe(403);
    expect((await command(["users", "promote", "ada"], { env, cwd })).code).toBe(0);
    expect((await getAllowed("/users", token)).status).toBe(200);
    expect(await server.end("SIGTERM")).toBe(0);
    expect(readdirSync(cwd)).toEqual([]);
    const again = await serve({ env, cwd });
    expect((await client(again.url).get("/users/me", token)).status).toBe(200);
  });

  test("after a restore, events of a command follow the restored ones, before a server starts", async () => {
    const env = await onServer();
    const cwd = emptyFolder();
    const server = await serve({ env, cwd });
    await client(server.url).register("ada@example.com", PASSWORD);
    await server.end("SIGTERM");
    const { DATABASE_URL = "" } = env;
    const sql = connect({ url: DATABASE_URL, caFile: undefined }, { max: 1 });
    await sql`update events set transaction_id = (transaction_id::text::bigint + 1000000)::text::xid8`;
    await sql.end();
    expect((await command(["users", "promote", "ada"], { env, cwd })).code).toBe(0);
    const { out } = await command(["events", "list", "--json"], { env, cwd });
    const types = JSON.parse(out).map(({ type }: { type: string }) => type);
    expect([types[0], types.at(-1)]).toEqual(["user.created", "user.updated"]);
  });

  test("its sessions may end at any time: the next request succeeds", async () => {
    const env = await onServer();
    const server = await serve({ env, cwd: emptyFolder() });
    const { register, logIn, get } = client(server.url);
    await register("ada@example.com", PASSWORD);
    const token = await logIn("ada", PASSWORD);
    const name = new URL(env["DATABASE_URL"] ?? "").pathname.slice(1);
    for (let round = 0; round < 5; round += 1) {
      await admin?.unsafe(
        `select pg_terminate_backend(pid) from pg_stat_activity where datname = '${name}'`,
      );
      const status = (await get("/users/me", token)).status;
      expect([200, 503]).toContain(status);
      await sleep(300);
      expect((await get("/users/me", token)).status).toBe(200);
    }
  });

  test("commands refuse a schema that is not up to date", async () => {
    const env = await onServer();
    const { code, err } = await command(["users", "list"], { env });
    expect([code, err]).toEqual([1, expect.stringContaining("bunker migrate")]);
    expect((await command(["migrate"], { env })).code).toBe(0);
    expect((await command(["users", "list"], { env })).code).toBe(0);
  });
});

const programs = ["/usr/lib/postgresql/17/bin", "/usr/lib/postgresql/15/bin"].find((path) =>
  existsSync(join(path, "initdb")),
);
const isRoot = process.getuid?.() === 0;
const NOBODY = 65_534;

const postgresql = isRoot
  ? needs("postgresql and openssl", programs !== undefined && Bun.which("openssl") !== null)
  : { describe: describe.skip };

postgresql.describe("over TLS", () => {
  /** A server with a certificate for localhost, signed by an authority of the test. */
  async function tlsServer() {
    const folder = emptyFolder();
    const openssl = (...args: string[]) => {
      const done = spawnSync("openssl", args, { cwd: folder });
      if (done.status !== 0) throw new Error(String(done.stderr));
    };
    const key = ["-newkey", "rsa:2048", "-nodes"];
    openssl(
      "req",
      "-x509",
      ...key,
      "-keyout",
      "ca.key",
      "-out",
      "ca.pem",
      "-subj",
      "/CN=Test CA",
      "-days",
      "2",
    );
    openssl("req", ...key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost");
    writeFileSync(join(folder, "names"), "subjectAltName=DNS:localhost");
    openssl(
      "x509",
      "-req",
      "-in",
      "server.csr",
      "-CA",
      "ca.pem",
      "-CAkey",
      "ca.key",
      "-CAcreateserial",
      "-out",
      "server.pem",
      "-days",
      "2",
      "-extfile",
      "names",
    );
    const data = join(folder, "data");
    mkdirSync(data);
    for (const path of [data, join(folder, "server.key"), join(folder, "server.pem")])
      chownSync(path, NOBODY, NOBODY);
    const account = { uid: NOBODY, gid: NOBODY, cwd: folder };
    const made = spawnSync(
      join(programs ?? "", "initdb"),
      ["-D", data, "-U", "bunker", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"],
      account,
    );
    if (made.status !== 0) throw new Error(String(made.stderr));
    writeFileSync(join(data, "pg_hba.conf"), "hostssl all all 127.0.0.1/32 trust\n");
    const port = await freePort();
    const settings = [
      `port=${port}`,
      "ssl=on",
      `ssl_cert_file=${folder}/server.pem`,
      `ssl_key_file=${folder}/server.key`,
      `unix_socket_directories=${data}`,
      "listen_addresses=127.0.0.1",
    ];
    const server = spawn(
      join(programs ?? "", "postgres"),
      ["-D", data, ...settings.flatMap((one) => ["-c", one])],
      account,
    );
    for (let tries = 0; tries < 100 && !existsSync(join(data, `.s.PGSQL.${port}`)); tries += 1)
      await sleep(50);
    const stop = () => new Promise((done) => server.once("exit", done) && server.kill("SIGINT"));
    return { port, ca: join(folder, "ca.pem"), stop };
  }

  test("sslmode decides what is verified of the server", async () => {
    const { port, ca, stop } = await tlsServer();
    const tryIt = async (host: string, mode: string, withCa: boolean) => {
      const url = `postgres://bunker@${host}:${port}/postgres?sslmode=${mode}`;
      const env = {
        DATABASE_URL: url,
        BUNKER_ENV: "development",
        SECRET_KEY,
        ...(withCa ? { DATABASE_CA_FILE: ca } : {}),
      };
      return (await command(["migrate"], { env })).code;
    };
    try {
      expect(await tryIt("localhost", "verify-full", true)).toBe(0);
      expect(await tryIt("127.0.0.1", "verify-ca", true)).toBe(0);
      expect(await tryIt("127.0.0.1", "require", false)).toBe(0);
      expect(await tryIt("127.0.0.1", "prefer", false)).toBe(0);
      expect(await tryIt("127.0.0.1", "verify-full", true)).toBe(78);
      expect(await tryIt("localhost", "verify-full", false)).toBe(78);
      expect(await tryIt("localhost", "verify-ca", false)).toBe(78);
      expect(await tryIt("localhost", "disable", false)).toBe(78);
    } finally {
      await stop();
    }
  });
});
