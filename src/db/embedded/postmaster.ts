import { type ChildProcess, spawn } from "node:child_process";
import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  lstatSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { openOwn, readOwn } from "../../config/data-dir.ts";
import { ownProgram } from "../../kit/build.ts";
import { Exit } from "../../kit/exit.ts";
import { type Account, prefixOf } from "./account.ts";
import { EXEC_POSTGRES, type ExecRequest, VERIFIED } from "./exec-postgres.ts";

/** The PostgreSQL to start: its programs, its cluster and its OS user. */
export interface Installation {
  programs: string;
  cluster: string;
  logFile: string;
  account: Account;
  /** Compares the programs with those of this build, and replaces them if they differ. */
  verify: () => Promise<void>;
  maxConnections: number;
}

const LOG_FILE_MAX_BYTES = 1 << 20;
const START_MAX_MS = 300_000;
const SHUTDOWN_MAX_MS = 20_000;

const settings = (installation: Installation): Record<string, string | number> => ({
  listen_addresses: "",
  // In the cluster, whose mode is 0700. Relative, because a socket's path has a maximum length.
  unix_socket_directories: ".",
  unix_socket_permissions: "0700",
  max_connections: installation.maxConnections,
  shared_buffers: "32MB",
  max_wal_size: "256MB",
  min_wal_size: "32MB",
  jit: "off",
  timezone: "UTC",
  log_timezone: "UTC",
  // No personal data in a log: no statements, no "Key (email)=(…) already exists".
  log_min_messages: "log",
  log_min_error_statement: "panic",
  log_error_verbosity: "terse",
  log_checkpoints: "off",
});

/**
 * Waits until PostgreSQL is ready. It ends when this process ends for any reason. It does not get
 * the terminal's Ctrl-C, so that the server can finish its last requests first.
 */
export async function startPostmaster(installation: Installation): Promise<ChildProcess> {
  await clearLeftovers(installation.cluster);
  const flags = Object.entries(settings(installation)).flatMap(([name, value]) => [
    "-c",
    `${name}=${value}`,
  ]);
  const execPostgres: ExecRequest = {
    parent: process.pid,
    uid: installation.account.kind === "other" ? installation.account.uid : undefined,
    command: [join(installation.programs, "bin/postgres"), "-D", installation.cluster, ...flags],
  };
  const [program = "", ...rest] = [
    ...prefixOf(installation.account),
    ...ownProgram,
    EXEC_POSTGRES,
    JSON.stringify(execPostgres),
  ];
  const log = openLog(installation.logFile);
  const child = spawn(program, rest, { stdio: ["pipe", log, log], cwd: "/" });
  closeSync(log);
  await verifyMeanwhile(installation, child);
  await untilReady(installation, child);
  return child;
}

/** The child starts meanwhile on another core. It runs PostgreSQL only after it gets VERIFIED. */
async function verifyMeanwhile({ verify }: Installation, child: ChildProcess): Promise<void> {
  // If the child has ended, its exit reports the failure.
  child.stdin?.on("error", () => {});
  try {
    await verify();
    child.stdin?.write(VERIFIED);
  } finally {
    child.stdin?.end();
  }
}

function openLog(file: string): number {
  const { O_WRONLY, O_APPEND, O_CREAT } = constants;
  const fd = openOwn(file, O_WRONLY | O_APPEND | O_CREAT);
  if (fstatSync(fd).size > LOG_FILE_MAX_BYTES) ftruncateSync(fd);
  return fd;
}

/** Fast shutdown (SIGINT) with a checkpoint; after 20 s, immediate shutdown (SIGQUIT). */
export async function stopPostmaster(child: ChildProcess): Promise<void> {
  if (hasExited(child)) return;
  const exited = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGINT");
  const immediate = setTimeout(() => child.kill("SIGQUIT"), SHUTDOWN_MAX_MS);
  await exited;
  clearTimeout(immediate);
}

export const hasExited = (child: ChildProcess) =>
  child.exitCode !== null || child.signalCode !== null;

async function untilReady(installation: Installation, child: ChildProcess): Promise<void> {
  let failure: Error | undefined;
  child.once("error", (error) => {
    failure = error;
  });
  const giveUpAt = performance.now() + START_MAX_MS;
  while (statusOf(installation.cluster) !== "ready") {
    if (failure) throw failure;
    if (hasExited(child)) throw didNotStart(installation);
    if (performance.now() > giveUpAt)
      throw new Exit(
        "unavailable",
        `The embedded PostgreSQL did not become ready in 5 minutes: see ${installation.logFile}.`,
      );
    await sleep(5);
  }
}

function didNotStart({ logFile }: Installation): Exit {
  const lines = lastLines(logFile);
  const hint = lines.includes("shared memory segment")
    ? "\nIts shared memory is in /dev/shm. Make it larger, for example with docker run --shm-size=64m."
    : "";
  return new Exit(
    "unavailable",
    `The embedded PostgreSQL did not start. ${logFile} ends with:\n${lines}${hint}`,
  );
}

/** The status in the pid file of the postmaster: "starting", "ready", "stopping". */
export function statusOf(cluster: string): string | undefined {
  try {
    return readOwn(join(cluster, "postmaster.pid"), lstatSync(cluster).uid)?.split("\n")[7]?.trim();
  } catch {
    return undefined;
  }
}

function lastLines(file: string): string {
  const fd = openOwn(file, constants.O_RDONLY);
  try {
    return readFileSync(fd, "utf8").trimEnd().split("\n").slice(-8).join("\n");
  } finally {
    closeSync(fd);
  }
}

/**
 * Ends processes that a killed server left on this cluster, and removes lock files that would block
 * the start. Call it only under the lock on the data directory.
 */
async function clearLeftovers(cluster: string): Promise<void> {
  for (const [signal, waitMs] of [
    ["SIGQUIT", 5_000],
    ["SIGKILL", 5_000],
  ] as const) {
    for (const pid of processesOn(cluster)) kill(pid, signal);
    const giveUpAt = performance.now() + waitMs;
    while (processesOn(cluster).length > 0 && performance.now() < giveUpAt) await sleep(10);
  }
  for (const name of ["postmaster.pid", ".s.PGSQL.5432", ".s.PGSQL.5432.lock"])
    rmSync(join(cluster, name), { force: true });
}

/** By their name and working directory: the system reuses the pid that a file names. */
function processesOn(cluster: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return (
          readlinkSync(`/proc/${pid}/cwd`) === cluster &&
          readFileSync(`/proc/${pid}/comm`, "utf8").startsWith("postgres")
        );
      } catch {
        return false;
      }
    })
    .map(Number);
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
