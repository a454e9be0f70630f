/** Attacks on the data directory by other OS users, and system settings that must not matter. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import {
  client,
  command,
  emptyFolder,
  freePort,
  isBinary,
  serve,
  usedFolder,
} from "../support/program.ts";

setDefaultTimeout(120_000);
const PASSWORD = "correct horse battery staple";
const isRoot = process.getuid?.() === 0;
const NOBODY = 65_534;
/** From source, other OS users may not be able to read the programs. */
const canBeOther = isRoot && isBinary;

/** Starts a server that must refuse, and returns its message. */
async function refusalIn(cwd: string, env: Record<string, string> = {}): Promise<string> {
  const { code, err } = await command(["serve"], {
    cwd,
    env: { ...env, PORT: String(await freePort()) },
  });
  expect([code, err]).toEqual([78, expect.any(String)]);
  return err;
}

const programsIn = (cwd: string) => {
  const [name = ""] = readdirSync(join(cwd, "data")).filter((one) => one.startsWith("postgres-"));
  return join(cwd, "data", name);
};

/** All entries below a directory that OS users other than their owner can write. */
const writableBelow = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((name) => join(folder, name))
    .filter((path) => {
      const stat = lstatSync(path);
      return !stat.isSymbolicLink() && (stat.mode & 0o022) !== 0;
    });

describe("what another OS user planted", () => {
  test.if(isRoot)("a data directory with a secret key: root does not take it over", async () => {
    const cwd = emptyFolder();
    const data = join(cwd, "data");
    mkdirSync(data, { mode: 0o755 });
    writeFileSync(join(data, "secret_key"), "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822c");
    chmodSync(join(data, "secret_key"), 0o666);
    for (const path of [join(data, "secret_key"), data]) chownSync(path, NOBODY, NOBODY);
    const refusal = await refusalIn(cwd);
    expect(refusal).toContain(`${data} belongs to uid ${NOBODY}, not to uid 0`);
    expect(refusal).toContain(`chmod 600 ${data}/secret_key`);
    expect(readdirSync(data)).toEqual(["secret_key"]);
    // Not even if it reads only the key, because the database is elsewhere.
    const DATABASE_URL = "postgres://postgres@127.0.0.1:1/none";
    expect(await refusalIn(cwd, { DATABASE_URL, BUNKER_ENV: "development" })).toContain(data);
  });

  test("a secret key that others can write", async () => {
    const cwd = emptyFolder();
    mkdirSync(join(cwd, "data"), { mode: 0o700 });
    writeFileSync(join(cwd, "data/secret_key"), "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b82");
    chmodSync(join(cwd, "data/secret_key"), 0o666);
    expect(await refusalIn(cwd)).toContain("secret_key has mode 0666");
  });

  for (const name of ["bunker.lock", "postgres.log", "secret_key"])
    test(`a symbolic link ${name}: the file that it names stays as it is`, async () => {
      const cwd = await usedFolder();
      const victim = join(cwd, "victim");
      const path = join(cwd, "data", name);
      spawnSync("mv", [path, victim]);
      const before = readFileSync(victim, "utf8");
      symlinkSync(victim, path);
      expect(await refusalIn(cwd)).toContain(`${path} is not a regular file`);
      expect(readFileSync(victim, "utf8")).toBe(before);
    });

  test("a program is replaced and never runs", async () => {
    const cwd = await usedFolder();
    const program = join(programsIn(cwd), "bin/postgres");
    const own = readFileSync(program);
    writeFileSync(program, `#!/bin/sh\ntouch ${cwd}/planted\n`);
    const server = await serve({ cwd });
    expect(server.said.err).toContain(`${program} differs from this build`);
    expect(existsSync(join(cwd, "planted"))).toBe(false);
    expect(readFileSync(program).equals(own)).toBe(true);
    expect((await client(server.url).register("ada@example.com", PASSWORD)).status).toBe(201);
    expect(await server.end("SIGTERM")).toBe(0);
    const again = await serve({ cwd });
    expect(again.said.err).not.toContain("differs");
  });

  const changes: Record<string, (programs: string) => void> = {
    "an additional library": (programs) => writeFileSync(join(programs, "lib/libc.so.6"), "x"),
    "a mode that lets others write": (programs) => chmodSync(join(programs, "lib"), 0o777),
    "a link in the place of a library": (programs) => {
      spawnSync("mv", [join(programs, "lib/libpq.so.5"), join(programs, "../moved")]);
      symlinkSync("../../moved", join(programs, "lib/libpq.so.5"));
    },
    "a library that is missing": (programs) =>
      spawnSync("rm", [join(programs, "lib/libcrypto.so.1.1")]),
  };
  for (const [what, change] of Object.entries(changes))
    test(`${what}: PostgreSQL is unpacked again`, async () => {
      const cwd = await usedFolder();
      change(programsIn(cwd));
      const server = await serve({ cwd });
      expect(server.said.err).toContain("differs from this build");
      expect(writableBelow(programsIn(cwd))).toEqual([]);
      expect(await server.end("SIGTERM")).toBe(0);
    });

  test.if(isRoot)("a file that the database names: root does not read it", async () => {
    const cwd = await usedFolder();
    const version = join(cwd, "data/cluster/PG_VERSION");
    spawnSync("rm", [version]);
    symlinkSync("/etc/hostname", version);
    expect(await refusalIn(cwd)).toContain("PG_VERSION is a symbolic link");
  });
});

describe.if(isRoot)("root, while a server of another OS user runs", () => {
  test.if(canBeOther)(
    "uses its database while it runs, and runs none of its files afterward",
    async () => {
      const cwd = emptyFolder();
      const server = await serve({ cwd, uid: NOBODY });
      await client(server.url).register("ada@example.com", PASSWORD);
      const listed = await command(["users", "list"], { cwd });
      expect([listed.code, listed.out]).toEqual([0, expect.stringContaining("ada@example.com")]);
      expect(await server.end("SIGTERM")).toBe(0);
      const owners = readdirSync(join(cwd, "data")).map(
        (name) => statSync(join(cwd, "data", name)).uid,
      );
      expect(new Set(owners)).toEqual(new Set([NOBODY]));
      const refused = await command(["users", "list"], { cwd });
      expect([refused.code, refused.err]).toEqual([78, expect.stringContaining(`uid ${NOBODY}`)]);
    },
  );

  test("does not run the cluster of an OS user that cannot reach it", async () => {
    const cwd = await usedFolder();
    const closed = join(emptyFolder(), "closed");
    mkdirSync(closed, { mode: 0o700 });
    spawnSync("mv", [join(cwd, "data"), closed]);
    expect(await refusalIn(closed)).toContain(
      "cluster belongs to uid 65532, which cannot reach it",
    );
  });
});

test.if(canBeOther)(
  "on a volume as Kubernetes prepares it, only a directory below the mount is used",
  async () => {
    const uid = 65_532;
    const mount = join(emptyFolder(), "mount");
    mkdirSync(mount);
    chownSync(mount, 0, uid);
    chmodSync(mount, 0o2770);
    const refused = await command(["serve"], { uid, env: { DATA_DIR: mount } });
    expect([refused.code, refused.err]).toEqual([78, expect.stringContaining("has mode 2770")]);
    const server = await serve({ uid, env: { DATA_DIR: join(mount, "bunker") } });
    expect(statSync(join(mount, "bunker")).mode & 0o7777).toBe(0o700);
    expect(await server.end("SIGTERM")).toBe(0);
  },
);

/** Starts with this umask, and resets it afterward. */
async function serveUnder(umask: number, run: { cwd: string; uid?: number }) {
  const PORT = String(await freePort());
  const before = process.umask(umask);
  try {
    return await serve({ ...run, env: { PORT } });
  } finally {
    process.umask(before);
  }
}

describe("the first start", () => {
  const accounts = [process.getuid?.() ?? 0, ...(canBeOther ? [NOBODY] : [])];
  for (const umask of [0o000, 0o027, 0o077])
    for (const uid of accounts)
      test(`under umask ${umask.toString(8).padStart(3, "0")}, as uid ${uid}`, async () => {
        const cwd = emptyFolder();
        const server = await serveUnder(umask, { cwd, ...(isRoot ? { uid } : {}) });
        expect((await client(server.url).register("ada@example.com", PASSWORD)).status).toBe(201);
        const data = join(cwd, "data");
        expect(statSync(data).mode & 0o7777).toBe(uid === 0 ? 0o711 : 0o700);
        expect(statSync(join(programsIn(cwd), "bin/postgres")).mode & 0o7777).toBe(0o755);
        for (const name of ["secret_key", "bunker.lock", "postgres.log"])
          expect(statSync(join(data, name)).mode & 0o7777).toBe(0o600);
        expect(writableBelow(data).filter((path) => !path.includes("/.s.PGSQL"))).toEqual([]);
        expect(await server.end("SIGTERM")).toBe(0);
      });

  test.if(isRoot)("under umask 077, in a directory made under 022", async () => {
    const cwd = emptyFolder();
    mkdirSync(join(cwd, "data"));
    chmodSync(join(cwd, "data"), 0o755);
    const server = await serveUnder(0o077, { cwd });
    expect(server.said.err).not.toContain("user namespace");
    expect((await client(server.url).register("ada@example.com", PASSWORD)).status).toBe(201);
  });

  test.if(isBinary)("takes at most 150 MB of memory", async () => {
    const server = await serve({ cwd: emptyFolder() });
    const [, peak] =
      /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${server.pid}/status`, "utf8")) ?? [];
    expect(Number(peak) / 1024).toBeLessThan(150);
  });

  test.if(isRoot)("on a mount with noexec is refused with the reason", async () => {
    const cwd = emptyFolder();
    const options = ["-t", "tmpfs", "-o", "noexec,size=300M,mode=755", "tmpfs", cwd];
    if (spawnSync("mount", options).status !== 0) return;
    try {
      const refusal = await refusalIn(cwd);
      expect(refusal).toContain(`${cwd}/data, because its file system is mounted with noexec`);
      expect(refusal).toContain("remount,exec");
    } finally {
      spawnSync("umount", ["--lazy", cwd]);
    }
  });
});
