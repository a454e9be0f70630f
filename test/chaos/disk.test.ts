/** The disk of the embedded database is full and then has space again, or a server is read-only. */
import { afterAll, afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { connect } from "../../src/db/db.ts";
import { client, command, emptyFolder, postgresIn, serve } from "../support/program.ts";

setDefaultTimeout(180_000);
const PASSWORD = "correct horse battery staple";
const MEGABYTE = Buffer.alloc(1 << 20);
const QUOTA = 400;

/** The OS user may be allowed to become root. */
const asRoot = process.getuid?.() === 0 ? [] : ["sudo", "-n"];
const run = (...command: string[]) => {
  const [program = "", ...args] = [...asRoot, ...command];
  return spawnSync(program, args);
};

const mounted: string[] = [];
/** A separate file system that can be filled. Undefined if this OS user may not mount one. */
function smallDisk(megabytes: number): string | undefined {
  const folder = join(emptyFolder(), "disk");
  mkdirSync(folder);
  const options = `size=${megabytes}M,mode=1777`;
  if (run("mount", "-t", "tmpfs", "-o", options, "tmpfs", folder).status !== 0) return undefined;
  mounted.push(folder);
  return folder;
}

// Lazy unmount: a process that still uses it is killed afterward.
afterEach(() => {
  for (const folder of mounted.splice(0)) run("umount", "--lazy", folder);
});

/** To the last byte. */
function fill(file: string): void {
  const fd = openSync(file, "w");
  try {
    for (let size = MEGABYTE.length; size > 0; )
      try {
        if (writeSync(fd, MEGABYTE, 0, size) === 0) size = 0;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
        size = Math.floor(size / 2);
      }
  } finally {
    closeSync(fd);
  }
}

const canMount = (() => {
  const disk = smallDisk(1);
  if (disk) run("umount", disk);
  mounted.length = 0;
  return disk !== undefined;
})();

describe.if(canMount)("a full disk", () => {
  test("gives 503 for writes, serves reads, and loses no acknowledged write", async () => {
    const disk = smallDisk(320) ?? "";
    const env = {
      DATA_DIR: join(disk, "data"),
      PASSWORD_HASH: "m=7168,t=5",
      LIMITS: `register=999999/60, requests=${QUOTA}/3600`,
      // Reads come from the database.
      PRINCIPAL_CACHE_SIZE: "0",
    };
    const server = await serve({ env });
    const api = client(server.url);
    expect((await api.register("ada@example.com", PASSWORD)).status).toBe(201);
    const token = await api.logIn("ada@example.com", PASSWORD);

    const ballast = join(disk, "ballast");
    fill(ballast);
    const kept: string[] = [];
    const statuses = new Set<number>();
    for (let at = 0; at < 300; at++) {
      const email = `person${at}@example.com`;
      const { status } = await api.register(email, PASSWORD);
      if (status === 201) kept.push(email);
      statuses.add(status);
    }
    expect([...statuses].toSorted()).toEqual([201, 503]);
    const refused = await api.register("late@example.com", PASSWORD);
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, expect.any(String)]);
    expect(await refused.json()).toMatchObject({ code: "database_unavailable" });

    // The database cannot count the limit either. This process counts it, and it holds.
    const read = async () => (await api.get("/users/me", token)).status;
    for (let at = 0; at < QUOTA / 2; at++) expect(await read()).toBe(200);
    const reads = await Promise.all(Array.from({ length: QUOTA }, read));
    expect(new Set(reads)).toEqual(new Set([200, 429]));
    const ready = await fetch(`${server.url}/readyz`);
    expect([ready.status, await ready.json()]).toEqual([
      503,
      expect.objectContaining({ disk: "failed", database: "ok" }),
    ]);

    rmSync(ballast);
    expect((await api.register("late@example.com", PASSWORD)).status).toBe(201);
    expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
    const listed = async () => {
      const { out } = await command(["users", "list", "--json"], { env });
      return (JSON.parse(out) as { email: string }[]).map(({ email }) => email);
    };
    const allEmails = [...kept, "ada@example.com", "late@example.com"].toSorted();
    expect((await listed()).toSorted()).toEqual(allEmails);
    expect(await server.end("SIGTERM")).toBe(0);
    // The data is intact: it starts again, and all users are there.
    const again = await serve({ env });
    expect(await client(again.url).logIn("late@example.com", PASSWORD)).toContain(".");
    expect((await listed()).toSorted()).toEqual(allEmails);
    expect(await again.end("SIGTERM")).toBe(0);
  });

  test("does not keep a killed PostgreSQL from starting again once there is space", async () => {
    const disk = smallDisk(320) ?? "";
    const env = { DATA_DIR: join(disk, "data"), PASSWORD_HASH: "m=7168,t=5" };
    const server = await serve({ env });
    const api = client(server.url);
    expect((await api.register("ada@example.com", PASSWORD)).status).toBe(201);
    const ballast = join(disk, "ballast");
    fill(ballast);
    const [postmaster = 0] = postgresIn(disk);
    // 0 would signal the whole process group.
    expect(postmaster).toBeGreaterThan(1);
    process.kill(postmaster, "SIGKILL");
    const giveUpAt = performance.now() + 30_000;
    await Bun.sleep(2_000);
    // It may still write into space that it had allocated.
    expect([201, 503]).toContain((await api.register("bob@example.com", PASSWORD)).status);
    rmSync(ballast);
    while (!(await fetch(`${server.url}/readyz`)).ok && performance.now() < giveUpAt)
      await Bun.sleep(100);
    expect((await api.register("eve@example.com", PASSWORD)).status).toBe(201);
    expect(await api.logIn("ada@example.com", PASSWORD)).toContain(".");
    expect(await server.end("SIGTERM")).toBe(0);
  });
});

const home = process.env["E2E_DATABASE_URL"];
const name = `bunker_e2e_read_only_${process.pid}`;
const admin = home ? connect({ url: home, caFile: undefined }, { max: 1 }) : undefined;
afterAll(async () => {
  await admin?.unsafe(`drop database if exists ${name} with (force)`);
  await admin?.end();
});

describe.if(home !== undefined)("a read-only server, such as a standby", () => {
  test("serves reads within limits of its own, and gives 503 for writes", async () => {
    await admin?.unsafe(`create database ${name}`);
    const databaseUrl = Object.assign(new URL(home ?? ""), { pathname: `/${name}` }).href;
    const server = await serve({
      cwd: emptyFolder(),
      env: {
        DATABASE_URL: databaseUrl,
        SECRET_KEY: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        PUBLIC_URL: "https://accounts.example.com",
        LIMITS: `requests=${QUOTA}/3600`,
        PRINCIPAL_CACHE_SIZE: "0",
      },
    });
    const api = client(server.url);
    await api.register("ada@example.com", PASSWORD);
    const token = await api.logIn("ada@example.com", PASSWORD);
    // Bunker's sessions set default_transaction_read_only, so triggers refuse writes as a standby
    // does (25006).
    const inside = connect({ url: databaseUrl, caFile: undefined }, { max: 1 });
    await inside.unsafe(`create function refuse() returns trigger language plpgsql as
      $$ begin raise exception 'read-only' using errcode = '25006'; end $$`);
    const tables = await inside`select tablename from pg_tables where schemaname = 'public'`;
    const readOnly = async (word: "on" | "off") => {
      for (const { tablename } of tables)
        await inside.unsafe(
          word === "on"
            ? `create trigger refuse before insert or update or delete on ${tablename} execute function refuse()`
            : `drop trigger refuse on ${tablename}`,
        );
    };
    await readOnly("on");
    const read = async () => (await api.get("/users/me", token)).status;
    for (let at = 0; at < QUOTA / 2; at++) expect(await read()).toBe(200);
    expect((await api.register("bob@example.com", PASSWORD)).status).toBe(503);
    const reads: number[] = [];
    while (reads.at(-1) !== 429) reads.push(await read());
    expect(new Set(reads)).toEqual(new Set([200, 429]));
    expect(reads.length).toBeLessThan(QUOTA);
    await readOnly("off");
    expect((await api.register("bob@example.com", PASSWORD)).status).toBe(201);
    expect(await server.end("SIGTERM")).toBe(0);
    await inside.end();
  });
});
