import { openSync, statSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { openDataDir, ownUid } from "../../config/data-dir.ts";
import { openBackoff } from "../../kit/backoff.ts";
import { Exit, misconfigured } from "../../kit/exit.ts";
import { findLockHolder, isHeld, type LockHolder, tryLockDataDir } from "./lock.ts";
import {
  hasExited,
  type Installation,
  startPostmaster,
  statusOf,
  stopPostmaster,
} from "./postmaster.ts";
import { type EmbeddedOptions, loadPrograms, prepare, START_A_SERVER } from "./prepare.ts";

/** An embedded PostgreSQL of this process, or that of the server that has the data directory. */
export interface Embedded {
  socketPath: string;
  owner: number | undefined;
  /** True if another process, a running server, has the data directory. */
  isServed: boolean;
  /** How often PostgreSQL ended unexpectedly and was started again. */
  restarts: () => number;
  /** The free space of the disk for OS users other than root. */
  freeBytes: () => Promise<number>;
  close: () => Promise<void>;
}

const WAIT_FOR_HOLDER_MS = 30_000;
const ROOT = 0;
const restartDelays = { minMs: 50, maxMs: 5_000 };
/** The size of the path in a sockaddr_un (unix(7)), without its terminating zero. */
const SOCKET_PATH_MAX_BYTES = 107;

/**
 * `serve` and `migrate` create the database if there is none; other commands are refused (exit code
 * 66), as is a second `serve` (75). Other commands use the database of the running server, or start
 * it for as long as they run.
 */
export async function openEmbedded(options: EmbeddedOptions): Promise<Embedded> {
  refuseOtherPlatforms();
  const mayCreate = options.holder.command !== "command";
  if (!mayCreate && !isHeld(options.dataDir)) refuseMissing(options.dataDir);
  const programs = await loadPrograms();
  const owner = ownerFor(options);
  const dataDir = openDataDir(options.dataDir, owner);
  const cluster = join(dataDir, "cluster");
  const freeBytes = async () => {
    const { bavail, bsize } = await statfs(dataDir);
    return bavail * bsize;
  };
  const self = { pid: process.pid, since: new Date().toISOString(), ...options.holder };
  const giveUpAt = performance.now() + WAIT_FOR_HOLDER_MS;
  while (!tryLockDataDir({ dataDir, owner }, self)) {
    const holder = findLockHolder({ dataDir, owner });
    const isServed = holder?.command === "serve";
    if (isServed && self.command === "serve") throw new Exit("taken", takenBy(holder, dataDir));
    if (isServed && statusOf(cluster) === "ready")
      return {
        socketPath: socketOf(cluster),
        owner,
        freeBytes,
        isServed: true,
        restarts: () => 0,
        close: async () => {},
      };
    if (performance.now() > giveUpAt) throw new Exit("taken", takenBy(holder, dataDir));
    await sleep(20);
  }
  // The server of another OS user has just ended. This process must not run the files of that user.
  if (owner !== ownUid()) openDataDir(dataDir);
  if (!mayCreate) refuseMissing(dataDir);
  const installation = await prepare(dataDir, programs, options);
  const supervised = await supervise(installation, options.warn);
  return { socketPath: socketOf(cluster), owner, freeBytes, isServed: false, ...supervised };
}

/** A command of root may use the server of another OS user: it changes no file of that user. */
const ownerFor = ({ dataDir, holder }: EmbeddedOptions): number | undefined =>
  ownUid() === ROOT && holder.command === "command" && isHeld(dataDir)
    ? statSync(dataDir).uid
    : ownUid();

function refuseMissing(dataDir: string) {
  try {
    statSync(join(dataDir, "cluster"));
  } catch (error) {
    throw new Exit("noDataDir", missing(resolve(dataDir), (error as NodeJS.ErrnoException).code));
  }
}

const missing = (path: string, code: string | undefined) =>
  `${code === "ENOENT" || code === "ENOTDIR" ? `There is no database in ${path}.` : `The database in ${path} cannot be read (${code}).`} Nothing was created.
  - For an embedded database, set DATA_DIR. The default is ./data in the folder where the server was started.
  - For a PostgreSQL server, set DATABASE_URL.
  - For a systemd service, use its settings:
    sudo env DATA_DIR=/var/lib/bunker bunker --env-file /etc/bunker/bunker.env …`;

function refuseOtherPlatforms() {
  if (process.platform === "linux") return;
  throw misconfigured(`The embedded database runs on Linux only. ${START_A_SERVER}`);
}

const takenBy = (holder: LockHolder | undefined, dataDir: string) =>
  holder
    ? `${dataDir} is in use by another Bunker ${holder.command === "serve" ? "server" : "command"} (pid ${holder.pid}, ${holder.url}, since ` +
      `${holder.since}). Stop it first, or use another DATA_DIR.`
    : `${dataDir} is in use by another Bunker process. Stop it first, or use another DATA_DIR.`;

/** The path of the socket. A path that is too long goes through an open directory instead. */
function socketOf(cluster: string): string {
  const path = join(cluster, ".s.PGSQL.5432");
  if (Buffer.byteLength(path) <= SOCKET_PATH_MAX_BYTES) return path;
  return `/proc/self/fd/${openSync(cluster, "r")}/.s.PGSQL.5432`;
}

/** Restarts PostgreSQL whenever it ends, until `close` is called. */
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
        warn(`The embedded database could not be restarted: ${(error as Error).message}`);
      }
    }
  };
  const watch = () => {
    const onExit = () => {
      if (closing) return;
      const reason = current.signalCode ?? `exit code ${current.exitCode}`;
      warn(`The embedded database exited (${reason}); restarting it.`);
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
