import { openSync, statSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { openDataDir, ownUid } from "../../config/data-dir.ts";
import { openBackoff } from "../../kit/backoff.ts";
import { Exit } from "../../kit/exit.ts";
import { findHolder, type Holder, isHeld, tryHold } from "./lock.ts";
import {
  hasExited,
  type Installation,
  startPostmaster,
  statusOf,
  stopPostmaster,
} from "./postmaster.ts";
import { loadPrograms, prepare, START_A_SERVER } from "./prepare.ts";

/** A database of this process's own, or a place beside the server that holds the data directory. */
export interface Embedded {
  socketPath: string;
  /** The account that the data directory belongs to. */
  owner: number | undefined;
  /** Whether another process, a running server, holds the data directory. */
  isServed: boolean;
  /** How often it ended by itself, and was started again. */
  restarts: () => number;
  /** What is left of the disk for whoever is not root. */
  freeBytes: () => Promise<number>;
  close: () => Promise<void>;
}

export interface EmbeddedOptions {
  dataDir: string;
  holder: Pick<Holder, "url"> & { command: "serve" | "worker" | "migrate" | "command" };
  maxConnections: number;
  /** Hears a sentence about what an operator wants to know. */
  warn: (sentence: string) => void;
}

const WAIT_FOR_HOLDER_MS = 30_000;
const ROOT = 0;
const restartDelays = { minMs: 50, maxMs: 5_000 };
/** What fits into a sockaddr_un. */
const SOCKET_PATH_MAX_BYTES = 107;

/**
 * Opens the database in `dataDir`. `serve` and `migrate` create it if there is none; any other
 * command is refused (exit code 66). A second `serve` is refused (75). Other commands use the
 * database of the running server, or start it for as long as they run.
 */
export async function openEmbedded(options: EmbeddedOptions): Promise<Embedded> {
  refuseOtherPlatforms();
  const mayMake = options.holder.command !== "command";
  if (!mayMake && !isHeld(options.dataDir)) refuseMissing(options.dataDir);
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
  while (!tryHold({ dataDir, owner }, self)) {
    const holder = findHolder({ dataDir, owner });
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
  // The server of another account ended just now. Its files are not run by this account.
  if (owner !== ownUid()) openDataDir(dataDir);
  if (!mayMake) refuseMissing(dataDir);
  const installation = await prepare(dataDir, programs, options);
  const supervised = await supervise(installation, options.warn);
  return { socketPath: socketOf(cluster), owner, freeBytes, isServed: false, ...supervised };
}

/** Root may use the database of another account's server, because it runs and changes nothing of it. */
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
  - An embedded database is in DATA_DIR; without it, in ./data of the folder where the server was started.
  - A PostgreSQL server is named by DATABASE_URL.
  - For a service of systemd, use its settings:
    sudo env DATA_DIR=/var/lib/bunker bunker --env-file /etc/bunker/bunker.env …`;

function refuseOtherPlatforms() {
  if (process.platform === "linux") return;
  throw new Exit("badConfiguration", `The embedded database runs on Linux only. ${START_A_SERVER}`);
}

const takenBy = (holder: Holder | undefined, dataDir: string) =>
  holder
    ? `${dataDir} is in use by another ${holder.command === "serve" ? "server" : "command"} of bunker (pid ${holder.pid}, ${holder.url}, since ` +
      `${holder.since}). Stop that one first, or give this one a DATA_DIR of its own.`
    : `${dataDir} is in use by another bunker. Stop that one first, or give this one a DATA_DIR of its own.`;

/** Every connection goes by this path; one that is too long is shortened through an open directory. */
function socketOf(cluster: string): string {
  const path = join(cluster, ".s.PGSQL.5432");
  if (Buffer.byteLength(path) <= SOCKET_PATH_MAX_BYTES) return path;
  return `/proc/self/fd/${openSync(cluster, "r")}/.s.PGSQL.5432`;
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
