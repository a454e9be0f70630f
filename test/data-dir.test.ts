/**
 * Which data directories are accepted, and which are refused because another OS user could have
 * changed them.
 */
import { afterAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  constants,
  lchownSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openDataDir, openOwn, readOwn } from "../src/config/data-dir.ts";
import { Exit } from "../src/kit/exit.ts";

const root = mkdtempSync(join(realpathSync(tmpdir()), "bunker-data-dir-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const isRoot = process.getuid?.() === 0;
const OTHER = 1234;
let made = 0;

/** A data directory with one file or directory in it, created by `change`. */
function dataDirWith(change: (dataDir: string) => void): string {
  made += 1;
  const dataDir = join(root, String(made), "data");
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  change(dataDir);
  return dataDir;
}

function refusalOf(act: () => unknown): string {
  try {
    act();
    return "";
  } catch (error) {
    if (error instanceof Exit && error.status === 78) return error.message;
    throw error;
  }
}
const refusal = (dataDir: string) => refusalOf(() => openDataDir(dataDir));

/** Independent of the umask. */
function write(path: string, mode: number) {
  writeFileSync(path, "x");
  chmodSync(path, mode);
}
function makeFolder(path: string, mode: number) {
  mkdirSync(path);
  chmodSync(path, mode);
}

describe("a data directory is accepted:", () => {
  const sound: Record<string, (dataDir: string) => void> = {
    "an empty one": () => {},
    "one that others may read": (dataDir) => chmodSync(dataDir, 0o755),
    "one with our files": (dataDir) => {
      write(join(dataDir, "secret_key"), 0o600);
      write(join(dataDir, "bunker.lock"), 0o644);
      makeFolder(join(dataDir, "cluster"), 0o700);
      makeFolder(join(dataDir, "postgres-18"), 0o755);
    },
    "one with files of others that Bunker does not use": (dataDir) =>
      write(join(dataDir, "notes"), 0o666),
    "one below a directory with the sticky bit": (dataDir) =>
      chmodSync(join(dataDir, ".."), 0o1777),
    "one below a directory that our own group may write": (dataDir) =>
      chmodSync(join(dataDir, ".."), 0o775),
  };
  for (const [what, change] of Object.entries(sound))
    test(what, () => expect(refusal(dataDirWith(change))).toBe(""));

  test("one that a symbolic link names, by its real path", () => {
    const dataDir = dataDirWith(() => {});
    symlinkSync(dataDir, join(root, "link"));
    expect(openDataDir(join(root, "link"))).toBe(dataDir);
  });
});

test("a missing one is created with its modes, whatever the umask is", () => {
  for (const umask of [0o000, 0o022, 0o077]) {
    const path = join(root, `umask-${umask}`, "in", "it");
    const before = process.umask(umask);
    try {
      openDataDir(path);
    } finally {
      process.umask(before);
    }
    const modes = [path, join(path, ".."), join(path, "../..")].map(
      (one) => statSync(one).mode & 0o7777,
    );
    expect(modes).toEqual(Array(3).fill(isRoot ? 0o711 : 0o700));
  }
});

describe("a data directory is refused, with the path and the remedy:", () => {
  const unsafe: Record<string, [(dataDir: string) => void, RegExp]> = {
    "one that others may write": [
      (dataDir) => chmodSync(dataDir, 0o777),
      /data has mode 0777. Run: chmod go-w \S+data$/m,
    ],
    "one that a group may write": [
      (dataDir) => chmodSync(dataDir, 0o2770),
      /data has mode 2770. Run: chmod go-w \S+data$/m,
    ],
    "a secret key that others may read": [
      (dataDir) => write(join(dataDir, "secret_key"), 0o644),
      /secret_key has mode 0644. Run: chmod 600 \S+secret_key$/m,
    ],
    "a secret key that is a symbolic link": [
      (dataDir) => symlinkSync("/etc/hostname", join(dataDir, "secret_key")),
      /secret_key is not a regular file. Remove it/,
    ],
    "a lock that is a symbolic link": [
      (dataDir) => symlinkSync("/etc/hostname", join(dataDir, "bunker.lock")),
      /bunker.lock is not a regular file. Remove it/,
    ],
    "a lock that is another file of ours": [
      (dataDir) => {
        write(join(dataDir, "../file"), 0o600);
        linkSync(join(dataDir, "../file"), join(dataDir, "bunker.lock"));
      },
      /bunker.lock has a second name/,
    ],
    "a log that others may write": [
      (dataDir) => write(join(dataDir, "postgres.log"), 0o666),
      /postgres.log has mode 0666. Run: chmod go-w \S+postgres.log$/m,
    ],
    "a cluster that a group may write": [
      (dataDir) => makeFolder(join(dataDir, "cluster"), 0o770),
      /cluster has mode 0770. Run: chmod go-w \S+cluster$/m,
    ],
    "programs that others may replace": [
      (dataDir) => makeFolder(join(dataDir, "postgres-18"), 0o777),
      /postgres-18 has mode 0777. Run: chmod go-w \S+postgres-18$/m,
    ],
    "one below a directory that every OS user may write": [
      (dataDir) => chmodSync(join(dataDir, ".."), 0o777),
      /can be written by every OS user \(mode 0777\). Run: chmod o-w \S+$/m,
    ],
  };
  for (const [what, [change, message]] of Object.entries(unsafe))
    test(what, () => expect(refusal(dataDirWith(change))).toMatch(message));

  test("one behind a symbolic link in a directory that every OS user may write", () => {
    const dataDir = dataDirWith(() => {});
    makeFolder(join(root, "open"), 0o777);
    symlinkSync(dataDir, join(root, "open/link"));
    symlinkSync(join(root, "open/link"), join(root, "second"));
    expect(refusal(join(root, "second"))).toMatch(/open can be written by every OS user/);
  });

  test.if(isRoot)(
    "one behind a symbolic link of another OS user, also in a sticky directory",
    () => {
      const dataDir = dataDirWith(() => {});
      makeFolder(join(root, "sticky"), 0o1777);
      const link = join(root, "sticky/link");
      symlinkSync(dataDir, link);
      expect(openDataDir(link)).toBe(dataDir);
      lchownSync(link, OTHER, OTHER);
      expect(refusal(link)).toContain(`${link} belongs to uid ${OTHER}, which can replace`);
    },
  );

  test("every fault is in one message, and a path that a shell would split is quoted", () => {
    const dataDir = join(root, "with a blank");
    makeFolder(dataDir, 0o777);
    write(join(dataDir, "secret_key"), 0o666);
    const message = refusal(dataDir);
    expect(message).toContain(`chmod go-w '${dataDir}'`);
    expect(message).toContain(`chmod 600 '${dataDir}/secret_key'`);
  });
});

describe.if(isRoot)("a data directory is refused as root:", () => {
  for (const name of ["", "secret_key", "bunker.lock", "postgres.log", "postgres-18"])
    test(`${name || "the directory"} of another OS user`, () => {
      const dataDir = dataDirWith((made) => {
        const path = join(made, name);
        if (name.startsWith("postgres-")) makeFolder(path, 0o755);
        else if (name !== "") write(path, 0o600);
        chownSync(path, OTHER, OTHER);
      });
      expect(refusal(dataDir)).toContain(
        `belongs to uid ${OTHER}, not to uid 0. Run: chown 0 ${join(dataDir, name)}`,
      );
    });

  test("one below the directory of another OS user", () => {
    const dataDir = dataDirWith((made) => chownSync(join(made, ".."), OTHER, OTHER));
    expect(refusal(dataDir)).toContain(`belongs to uid ${OTHER}, which can replace`);
  });

  test("one below a directory that another group may write", () => {
    const dataDir = dataDirWith((made) => {
      chownSync(join(made, ".."), 0, OTHER);
      chmodSync(join(made, ".."), 0o775);
    });
    expect(refusal(dataDir)).toContain(`can be written by group ${OTHER}`);
  });

  test("but not the cluster of the account that runs PostgreSQL", () => {
    const dataDir = dataDirWith((made) => {
      makeFolder(join(made, "cluster"), 0o700);
      chownSync(join(made, "cluster"), OTHER, OTHER);
    });
    expect(refusal(dataDir)).toBe("");
  });
});

describe("a file", () => {
  const path = join(root, "file");
  const { O_RDWR, O_CREAT, O_RDONLY } = constants;

  test("behind a symbolic link is not opened, and not created", () => {
    symlinkSync(path, join(root, "symbolic"));
    const open = () => openOwn(join(root, "symbolic"), O_RDWR | O_CREAT);
    expect(refusalOf(open)).toContain("symbolic is a symbolic link");
    expect(statSync(path, { throwIfNoEntry: false })).toBeUndefined();
  });

  test("that other OS users may write is not read", () => {
    write(path, 0o666);
    expect(refusalOf(() => readOwn(path))).toContain("has mode 0666");
    chmodSync(path, 0o600);
    expect(readOwn(path)).toBe("x");
    expect(readOwn(join(root, "missing"))).toBeUndefined();
  });

  test("that is a named pipe does not block the start", () => {
    Bun.spawnSync(["mkfifo", "-m", "600", join(root, "pipe")]);
    expect(refusalOf(() => openOwn(join(root, "pipe"), O_RDONLY))).toContain("not a regular file");
    expect(readFileSync(path, "utf8")).toBe("x");
  });
});
