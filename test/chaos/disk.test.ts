/** The disk of the embedded database is full, and has room again. */
import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { chmodSync, closeSync, mkdirSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { client, command, emptyFolder, postgresIn, serve } from "../support/program.ts";

setDefaultTimeout(180_000);
const PASSWORD = "correct horse battery staple";
const MEGABYTE = Buffer.alloc(1 << 20);
const QUOTA = 400;

const mounted: string[] = [];
/** A disk of its own, which can be full without harm to others. Undefined where this account may not make one. */
function smallDisk(megabytes: number): string | undefined {
  const folder = join(emptyFolder(), "disk");
  mkdirSync(folder);
  const args = ["-t", "tmpfs", "-o", `size=${megabytes}M`, "tmpfs", folder];
  if (spawnSync("mount", args).status !== 0) return undefined;
  mounted.push(folder);
  chmodSync(folder, 0o777);
  return folder;
}

// Lazily: whoever still stands in it is killed behind this.
afterEach(() => {
  for (const folder of mounted.splice(0)) spawnSync("umount", ["--lazy", folder]);
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
  if (disk) spawnSync("umount", [disk]);
  mounted.length = 0;
  return disk !== undefined;
})();

describe.if(canMount)("a full disk", () => {
  test("refuses what it cannot keep by 503, answers who reads, and loses nothing that was acknowledged", async () => {
    const disk = smallDisk(320) ?? "";
    const env = {
      DATA_DIR: join(disk, "data"),
      PASSWORD_HASH: "m=7168,t=5",
      LIMITS: `register=999999/60, requests=${QUOTA}/3600`,
      // What is read is read from the database.
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

    // The limit cannot be counted in the database either: here it is, and it holds.
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
      return out
        .trim()
        .split("\n")
        .map((line) => (JSON.parse(line) as { email: string }).email);
    };
    const everybody = [...kept, "ada@example.com", "late@example.com"].toSorted();
    expect((await listed()).toSorted()).toEqual(everybody);
    expect(await server.end("SIGTERM")).toBe(0);
    // Nothing is broken on the disk: it starts again, and everybody is there.
    const again = await serve({ env });
    expect(await client(again.url).logIn("late@example.com", PASSWORD)).toContain(".");
    expect((await listed()).toSorted()).toEqual(everybody);
    expect(await again.end("SIGTERM")).toBe(0);
  });

  test("does not keep PostgreSQL from coming back when it is killed on it, as soon as there is room", async () => {
    const disk = smallDisk(320) ?? "";
    const env = { DATA_DIR: join(disk, "data"), PASSWORD_HASH: "m=7168,t=5" };
    const server = await serve({ env });
    const api = client(server.url);
    expect((await api.register("ada@example.com", PASSWORD)).status).toBe(201);
    const ballast = join(disk, "ballast");
    fill(ballast);
    process.kill(postgresIn(disk)[0] ?? 0, "SIGKILL");
    const giveUpAt = performance.now() + 30_000;
    await Bun.sleep(2_000);
    // What it had room for already may still be written.
    expect([201, 503]).toContain((await api.register("bob@example.com", PASSWORD)).status);
    rmSync(ballast);
    while (!(await fetch(`${server.url}/readyz`)).ok && performance.now() < giveUpAt)
      await Bun.sleep(100);
    expect((await api.register("eve@example.com", PASSWORD)).status).toBe(201);
    expect(await api.logIn("ada@example.com", PASSWORD)).toContain(".");
    expect(await server.end("SIGTERM")).toBe(0);
  });
});
