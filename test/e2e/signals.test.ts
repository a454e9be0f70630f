/** As process 1 of a container: the kernel drops each signal that the program does not handle. */

import { afterEach, expect, setDefaultTimeout, test } from "bun:test";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "../../src/db/db.ts";
import { advisoryLocks } from "../../src/db/locks.ts";
import { freshDatabase, urlOf } from "../support/postgres.ts";
import { emptyFolder, freePort, ownWords } from "../support/program.ts";

setDefaultTimeout(60_000);
const inNamespace = ["-pf", "--mount-proc", "--kill-child=KILL"];
const canIsolate = spawnSync("unshare", [...inNamespace, "true"]).status === 0;

const started = new Set<ChildProcess>();
afterEach(() => {
  for (const child of started) child.kill("SIGKILL");
  started.clear();
});

/** Starts a command as process 1 of a namespace. Returns its id outside once it runs. */
async function startFirst(args: string[], env: Record<string, string> = {}) {
  const cwd = emptyFolder();
  const child = spawn("unshare", [...inNamespace, ...ownWords, ...args], {
    cwd,
    env: {
      PATH: process.env["PATH"] ?? "",
      HOST: "127.0.0.1",
      PORT: String(await freePort()),
      ...env,
    },
    stdio: "ignore",
  });
  started.add(child);
  const ended = new Promise<number | null>((done) => child.once("close", done));
  for (;;) {
    const [pid] = read(`/proc/${child.pid}/task/${child.pid}/children`).split(" ");
    if (pid && !read(`/proc/${pid}/cmdline`).startsWith("unshare"))
      return { pid: Number(pid), ended, cwd };
    await sleep(1);
  }
}

function read(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

/**
 * From its first instruction. While Bun loads or compiles the program, no code can catch a signal.
 */
async function untilCaught(pid: number, signal: "SIGTERM" | "SIGINT"): Promise<void> {
  const bit = 1n << BigInt(constants.signals[signal] - 1);
  for (;;) {
    const [, caught = "0"] = /^SigCgt:\s*(\w+)$/m.exec(read(`/proc/${pid}/status`)) ?? [];
    if ((BigInt(`0x${caught}`) & bit) !== 0n) return;
    await sleep(1);
  }
}

test.if(canIsolate)("SIGTERM ends a server long before it serves", async () => {
  const { pid, ended } = await startFirst(["serve"]);
  await untilCaught(pid, "SIGTERM");
  process.kill(pid, "SIGTERM");
  expect(await ended).toBe(143);
});

test.if(canIsolate)("SIGTERM ends a server that unpacks its database", async () => {
  const { pid, ended, cwd } = await startFirst(["serve"]);
  const isUnpacking = () =>
    existsSync(join(cwd, "data")) &&
    readdirSync(join(cwd, "data")).some((one) => /unpack/.test(one));
  while (!isUnpacking()) await sleep(1);
  process.kill(pid, "SIGTERM");
  expect(await ended).toBe(143);
});

test.if(canIsolate)("SIGINT ends a command", async () => {
  const { pid, ended } = await startFirst(["password", "calibrate", "--milliseconds", "2000"]);
  await untilCaught(pid, "SIGINT");
  process.kill(pid, "SIGINT");
  expect(await ended).toBe(130);
});

test.if(canIsolate)("SIGTERM ends a server that waits for the lock of migrations", async () => {
  const place = await freshDatabase("empty");
  const sql = connect(place, { max: 1 });
  await sql`select pg_advisory_lock(${advisoryLocks.migrations})`;
  const DATABASE_URL = urlOf(place, "bunker");
  const { pid, ended } = await startFirst(["serve"], { DATABASE_URL, BUNKER_ENV: "development" });
  const waiting = () => sql`select from pg_locks where locktype = 'advisory' and not granted`;
  while ((await waiting()).length === 0) await sleep(20);
  process.kill(pid, "SIGTERM");
  expect(await ended).toBe(143);
  await sql.end();
});
