/** As process 1, as in a container: the kernel drops each signal that the program does not handle itself. */

import { afterEach, expect, setDefaultTimeout, test } from "bun:test";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "../../src/db/db.ts";
import { advisoryLocks } from "../../src/db/locks.ts";
import { freshDatabase, urlOf } from "../support/postgres.ts";
import { emptyFolder, freePort, isBinary, ownWords } from "../support/program.ts";

setDefaultTimeout(60_000);
const inNamespace = ["-pf", "--mount-proc", "--kill-child=KILL"];
const canIsolate = spawnSync("unshare", [...inNamespace, "true"]).status === 0;

const started = new Set<ChildProcess>();
afterEach(() => {
  for (const child of started) child.kill("SIGKILL");
  started.clear();
});

/** Starts a command as process 1 of a namespace of its own; answers its id outside of that, as soon as it runs. */
async function startFirst(args: string[], env: Record<string, string> = {}) {
  const child = spawn("unshare", [...inNamespace, ...ownWords, ...args], {
    cwd: emptyFolder(),
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
      return { pid: Number(pid), ended };
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

// Before its first instruction a program cannot hear: Bun loads the binary until then, and from source compiles it.
const moments = isBinary ? [100, 200, 400, 800] : [1500];

test.if(canIsolate).each(moments)(
  "a server as process 1 ends by SIGTERM %d ms after it was started",
  async (ms) => {
    const { pid, ended } = await startFirst(["serve"]);
    await sleep(ms);
    process.kill(pid, "SIGTERM");
    expect([0, 143]).toContain((await ended) ?? -1);
  },
);

test.if(canIsolate)("a command as process 1 ends by SIGINT", async () => {
  const { pid, ended } = await startFirst(["password", "calibrate", "--milliseconds", "2000"]);
  await sleep(isBinary ? 200 : 1_500);
  process.kill(pid, "SIGINT");
  expect(await ended).toBe(130);
});

test.if(canIsolate)("a server that waits for the lock of migrations ends by SIGTERM", async () => {
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
