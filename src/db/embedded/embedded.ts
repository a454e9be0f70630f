import {
  accessSync,
  chmodSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { statfs } from "node:fs/promises";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { openBackoff } from "../../kit/backoff.ts";
import { Exit } from "../../kit/exit.ts";
import { type Account, chooseAccount, giveTo } from "./account.ts";
import { syncFileSystem } from "./libc.ts";
import { findHolder, type Holder, tryHold } from "./lock.ts";
import {
  hasExited,
  type Installation,
  startPostmaster,
  statusOf,
  stopPostmaster,
} from "./postmaster.ts";

/** A database of this process's own, or a place beside the server that holds the data directory. */
export interface Embedded {
  socketPath: string;
  /** How often it ended by itself, and was started again. */
  restarts: () => number;
  /** What is left of the disk for whoever is not root. */
  freeBytes: () => Promise<number>;
  close: () => Promise<void>;
}

export interface EmbeddedOptions {
  dataDir: string;
  holder: Pick<Holder, "command" | "url">;
  maxConnections: number;
  /** Hears a sentence about what an operator wants to know. */
  warn: (sentence: string) => void;
}

const WAIT_FOR_HOLDER_MS = 30_000;
const restartDelays = { minMs: 50, maxMs: 5_000 };
const UNPACKED_MB = 100;
/** What fits into a sockaddr_un. */
const SOCKET_PATH_MAX_BYTES = 107;

/**
 * Opens the database in `dataDir`, made there if there is none. A second `serve` is refused (exit code 75); every other
 * command uses the running server's database, or one of its own for as long as it runs.
 */
export async function openEmbedded(options: EmbeddedOptions): Promise<Embedded> {
  refuseOtherPlatforms();
  const dataDir = makeDataDir(options.dataDir);
  const cluster = join(dataDir, "cluster");
  const freeBytes = async () => {
    const { bavail, bsize } = await statfs(dataDir);
    return bavail * bsize;
  };
  const self = { pid: process.pid, since: new Date().toISOString(), ...options.holder };
  const giveUpAt = performance.now() + WAIT_FOR_HOLDER_MS;
  while (!tryHold(dataDir, self)) {
    const holder = findHolder(dataDir);
    const isServed = holder?.command === "serve";
    if (isServed && self.command === "serve") throw new Exit("taken", takenBy(holder, dataDir));
    if (isServed && statusOf(cluster) === "ready")
      return { socketPath: socketOf(cluster), freeBytes, restarts: () => 0, close: async () => {} };
    if (performance.now() > giveUpAt) throw new Exit("taken", takenBy(holder, dataDir));
    await sleep(20);
  }
  const installation = await prepare(dataDir, options);
  const supervised = await supervise(installation, options.warn);
  return { socketPath: socketOf(cluster), freeBytes, ...supervised };
}

function refuseOtherPlatforms() {
  if (process.platform === "linux") return;
  throw new Exit(
    "badConfiguration",
    `The embedded database runs on Linux only. Set DATABASE_URL to a PostgreSQL server (15 or newer).`,
  );
}

const takenBy = (holder: Holder | undefined, dataDir: string) =>
  holder
    ? `${dataDir} is in use by another ${holder.command === "serve" ? "server" : "command"} of bunker (pid ${holder.pid}, ${holder.url}, since ` +
      `${holder.since}). Stop that one first, or give this one a DATA_DIR of its own.`
    : `${dataDir} is in use by another bunker. Stop that one first, or give this one a DATA_DIR of its own.`;

function makeDataDir(path: string): string {
  try {
    mkdirSync(path, { recursive: true, mode: process.getuid?.() === 0 ? 0o711 : 0o700 });
    accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK);
    return realpathSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Exit("badConfiguration", `DATA_DIR: cannot make or write ${path} (${code}).`);
  }
}

/** Every connection goes by this path; one that is too long is shortened through an open directory. */
function socketOf(cluster: string): string {
  const path = join(cluster, ".s.PGSQL.5432");
  if (Buffer.byteLength(path) <= SOCKET_PATH_MAX_BYTES) return path;
  return `/proc/self/fd/${openSync(cluster, "r")}/.s.PGSQL.5432`;
}

async function prepare(dataDir: string, options: EmbeddedOptions): Promise<Installation> {
  const { archives, version } = await import("./payload.ts");
  const cluster = join(dataDir, "cluster");
  const programs = join(dataDir, `postgres-${version}`);
  const account = chooseAccount(dataDir);
  refuseOtherMajor(cluster, version);
  for (const name of readdirSync(dataDir))
    if (
      name.startsWith(".unpack-") ||
      (/^postgres-/.test(name) && join(dataDir, name) !== programs)
    )
      rmSync(join(dataDir, name), { recursive: true, force: true });
  const missing = [
    { archive: archives.postgres, at: programs, mode: 0o755, uid: undefined },
    { archive: archives.cluster, at: cluster, mode: 0o700, uid: uidOf(account) },
  ].filter(({ at }) => !existsSync(at));
  await unpack(dataDir, missing);
  settleOwner(cluster, account);
  if (account.kind === "namespace")
    options.warn(
      "running as root: PostgreSQL runs in a user namespace, still with root's rights on this machine. " +
        "Better: start bunker as another user, or put DATA_DIR where other users may enter.",
    );
  return {
    programs,
    cluster,
    logFile: join(dataDir, "postgres.log"),
    account,
    maxConnections: options.maxConnections,
  };
}

function refuseOtherMajor(cluster: string, version: string) {
  const file = join(cluster, "PG_VERSION");
  if (!existsSync(file)) return;
  const found = Number(readFileSync(file, "utf8"));
  const ours = Number.parseInt(version, 10);
  if (found === ours) return;
  const remedy =
    found > ours
      ? "Use the newer bunker that made it, or another DATA_DIR."
      : "Start the bunker that made it, move the data to a server, and set DATABASE_URL.";
  throw new Exit(
    "badConfiguration",
    `${cluster} was made by PostgreSQL ${found}, and this bunker carries PostgreSQL ${ours}. Nothing was changed. ${remedy}`,
  );
}

interface Part {
  archive: string;
  at: string;
  mode: number;
  /** Its owner, where that is not the account that unpacks it. */
  uid: number | undefined;
}

/** Unpacks beside the destinations and renames, so that a crash leaves all of a part or nothing. */
async function unpack(dataDir: string, parts: Part[]): Promise<void> {
  if (parts.length === 0) return;
  const staging = join(dataDir, `.unpack-${process.pid}`);
  const stagingOf = ({ at }: Part) => join(staging, basename(at));
  try {
    await Promise.all(parts.map((part) => extract(part.archive, stagingOf(part))));
  } catch (error) {
    rmSync(staging, { recursive: true, force: true });
    if (error instanceof Exit) throw error;
    throw new Exit(
      "failed",
      `DATA_DIR: PostgreSQL cannot be unpacked into ${dataDir}. It needs about ${UNPACKED_MB} MB, and the right to write there.`,
    );
  }
  for (const part of parts) {
    chmodSync(stagingOf(part), part.mode);
    if (part.uid !== undefined) giveTo(part.uid, stagingOf(part));
  }
  const directory = openSync(dataDir, "r");
  syncFileSystem(directory);
  closeSync(directory);
  for (const part of parts) renameSync(stagingOf(part), part.at);
  rmSync(staging, { recursive: true, force: true });
}

async function extract(archive: string, into: string): Promise<void> {
  const packed = await Bun.file(archive).bytes();
  if (packed.length === 0)
    throw new Exit("badConfiguration", "This build carries no database: set DATABASE_URL.");
  await new Bun.Archive(await Bun.zstdDecompress(packed)).extract(into);
}

const ROOT = 0;

function uidOf(account: Account): number | undefined {
  if (account.kind === "own") return undefined;
  return account.kind === "other" ? account.uid : ROOT;
}

/** PostgreSQL insists that its cluster belongs to the account it runs as, also where the data directory was moved. */
function settleOwner(cluster: string, account: Account) {
  const uid = uidOf(account);
  if (uid !== undefined && statSync(cluster).uid !== uid) giveTo(uid, cluster);
}

/** Keeps PostgreSQL running until `close` is called, whoever kills it. */
async function supervise(installation: Installation, warn: EmbeddedOptions["warn"]) {
  let closing = false;
  let restarts = 0;
  let current = await startPostmaster(installation);
  let restarting: Promise<void> | undefined;
  const restart = async () => {
    const backoff = openBackoff(restartDelays);
    while (!closing) {
      await backoff.wait();
      if (closing) return;
      try {
        current = await startPostmaster(installation);
        restarts += 1;
        return watch();
      } catch (error) {
        warn(`The embedded database does not come back: ${(error as Error).message}`);
      }
    }
  };
  const watch = () => {
    const onExit = () => {
      if (closing) return;
      const reason = current.signalCode ?? `exit code ${current.exitCode}`;
      warn(`The embedded database ended (${reason}); starting it again.`);
      restarting = restart();
    };
    if (hasExited(current)) onExit();
    else current.once("exit", onExit);
  };
  watch();
  const close = async () => {
    closing = true;
    await restarting;
    await stopPostmaster(current);
  };
  return { close, restarts: () => restarts };
}
