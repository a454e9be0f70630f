import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
} from "node:fs";
import { basename, join } from "node:path";
import { ownUid, readOwn } from "../../config/data-dir.ts";
import { Exit, misconfigured } from "../../kit/exit.ts";
import { type Account, chooseAccount, giveTo } from "./account.ts";
import { type Archive, type Entry, entriesOf, findAlteration, unpack } from "./archive.ts";
import { syncFileSystem } from "./libc.ts";
import type { LockHolder } from "./lock.ts";
import type { Installation } from "./postmaster.ts";

export interface EmbeddedOptions {
  dataDir: string;
  holder: Pick<LockHolder, "url"> & { command: "serve" | "worker" | "migrate" | "command" };
  maxConnections: number;
  /** Gets warnings for the operator, one sentence each. */
  warn: (sentence: string) => void;
}

const UNPACKED_MB = 100;
const ROOT = 0;

/** Advice for a machine or build without an embedded database. */
export const START_A_SERVER =
  "Set DATABASE_URL to a PostgreSQL server, 15 or newer. To start one with Docker:\n" +
  "  docker run -d --name bunker-postgres -p 127.0.0.1:5432:5432 -e POSTGRES_PASSWORD=bunker postgres:18\n" +
  "  DATABASE_URL=postgres://postgres:bunker@127.0.0.1:5432/postgres";

/** PostgreSQL and an empty cluster, as packed in this build. */
interface Programs {
  archives: Record<"cluster" | "postgres", Archive>;
  entries: Entry[];
  version: string;
}

/** Throws an Exit if this build has no PostgreSQL. */
export async function loadPrograms(): Promise<Programs> {
  const { archives, version } = await import("./payload.ts");
  const entries = entriesOf(archives.postgres);
  if (entries.length === 0)
    throw misconfigured(`This build has no embedded database. ${START_A_SERVER}`);
  return { archives, entries, version };
}

/** Installs programs and cluster. Call it only under the lock on the data directory. */
export async function prepare(
  dataDir: string,
  { archives, entries, version }: Programs,
  options: EmbeddedOptions,
): Promise<Installation> {
  const cluster = join(dataDir, "cluster");
  const programs = join(dataDir, `postgres-${version}`);
  const account = chooseAccount(dataDir);
  const parts = {
    programs: { archive: archives.postgres, at: programs, uid: undefined },
    cluster: { archive: archives.cluster, at: cluster, uid: uidOf(account) },
  };
  refuseOtherMajor(cluster, version);
  removeLeftovers(dataDir, programs);
  await install(
    dataDir,
    Object.values(parts).filter(({ at }) => !existsSync(at)),
  );
  if (account.kind === "namespace")
    options.warn(
      "Bunker runs as root: PostgreSQL runs in a user namespace, with root's rights on this machine. " +
        "Start bunker as another OS user, or put DATA_DIR where other OS users can reach it.",
    );
  const verify = async () => {
    const altered = findAlteration(programs, entries, ownUid());
    if (altered !== undefined) {
      const path = join(programs, altered);
      options.warn(`${path} differs from this build of Bunker; unpacking PostgreSQL again.`);
      await install(dataDir, [parts.programs]);
    }
    refuseNoexec(dataDir, join(programs, "bin/postgres"));
  };
  const logFile = join(dataDir, "postgres.log");
  return { programs, cluster, logFile, account, verify, maxConnections: options.maxConnections };
}

function refuseOtherMajor(cluster: string, version: string) {
  const file = join(cluster, "PG_VERSION");
  if (!existsSync(file)) return;
  const found = Number(readOwn(file, lstatSync(cluster).uid));
  const ours = Number.parseInt(version, 10);
  if (found === ours) return;
  const remedy =
    found > ours
      ? "Use the newer Bunker that created it, or another DATA_DIR."
      : "Start the Bunker that created it, move the data to a server, and set DATABASE_URL.";
  throw misconfigured(
    `${cluster} was created by PostgreSQL ${found}, but this Bunker contains PostgreSQL ${ours}. Nothing was changed. ${remedy}`,
  );
}

/** Removes unfinished unpacking of a killed process, and the programs of other versions. */
function removeLeftovers(dataDir: string, programs: string) {
  for (const name of readdirSync(dataDir)) {
    const path = join(dataDir, name);
    if (name.startsWith(".unpack-") || (name.startsWith("postgres-") && path !== programs))
      rmSync(path, { recursive: true, force: true });
  }
}

/** The mode was verified before, so only a noexec mount can make this fail, even for root. */
function refuseNoexec(dataDir: string, program: string) {
  try {
    accessSync(program, constants.X_OK);
  } catch {
    throw misconfigured(
      `DATA_DIR: PostgreSQL cannot run in ${dataDir}, because its file system is mounted with noexec. ` +
        `Use a DATA_DIR on another file system, or run: mount -o remount,exec "$(findmnt -no TARGET -T ${dataDir})"`,
    );
  }
}

interface Part {
  archive: Archive;
  at: string;
  /** Its owner, if that is not the OS user that unpacks it. */
  uid: number | undefined;
}

/** Unpacks into a staging directory, then renames: a crash leaves a whole part or none. */
async function install(dataDir: string, parts: Part[]): Promise<void> {
  if (parts.length === 0) return;
  const staging = join(dataDir, `.unpack-${process.pid}`);
  const stagingOf = ({ at }: Part) => join(staging, basename(at));
  try {
    mkdirSync(staging, { mode: 0o700 });
    await Promise.all(parts.map((part) => unpack(part.archive, stagingOf(part))));
  } catch (error) {
    rmSync(staging, { recursive: true, force: true });
    const { code, message } = error as NodeJS.ErrnoException;
    throw new Exit(
      "failed",
      `DATA_DIR: PostgreSQL cannot be unpacked into ${dataDir} (${code ?? message}). It needs about ${UNPACKED_MB} MB and write permission there.`,
    );
  }
  for (const part of parts) if (part.uid !== undefined) giveTo(part.uid, stagingOf(part));
  const directory = openSync(dataDir, "r");
  syncFileSystem(directory);
  closeSync(directory);
  for (const part of parts) {
    if (existsSync(part.at)) renameSync(part.at, join(staging, "replaced"));
    renameSync(stagingOf(part), part.at);
  }
  rmSync(staging, { recursive: true, force: true });
}

function uidOf(account: Account): number | undefined {
  if (account.kind === "own") return undefined;
  return account.kind === "other" ? account.uid : ROOT;
}
