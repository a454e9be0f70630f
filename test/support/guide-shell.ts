/**
 * A shell in an empty folder, in which a guide is carried out: variables last from step to step.
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { emptyFolder, freePort, ownWords, postgresIn } from "./program.ts";

/** Guides name these ports: of Bunker, and of the reader's own API. Each shell has its own. */
const [PORT, API_PORT] = ["3000", "8000"];
/** Guides name the role and database so. Each shell has its own, on the server of all tests. */
const DATABASE = "bunker_app";
/** Guides name the server so: its superuser, and its host. */
const [SUPERUSER_URL, DATABASE_HOST] = [
  "postgres://postgres@127.0.0.1:5432/postgres",
  "127.0.0.1:5432",
];
/** Guides name the folder so. */
const FOLDER = "/home/ada/bunker";
/** Most readers are not root either. */
const OTHER_UID = 54_321;
const START_MAX_MS = 30_000;
const STEP_MAX_MS = 90_000;

export interface GuideShell {
  run: (command: string) => Promise<{ code: number; output: string }>;
  /** Starts a server in the background; returns what it prints until it is ready. */
  serve: (command: string) => Promise<string>;
  /** Starts another program in the background; returns when `url` answers. */
  background: (command: string, url: string) => Promise<void>;
  write: (path: string, text: string) => void;
  /** Replaces what the guide names by what this shell has, as in the ports. */
  localized: (text: string) => string;
  close: () => Promise<void>;
}

/** `replaced`: what a guide names, and what this machine has instead. */
export async function openGuideShell(replaced: Record<string, string> = {}): Promise<GuideShell> {
  const cwd = emptyFolder();
  const [port, apiPort] = [String(await freePort()), String(await freePort())];
  const database = `${DATABASE}_${randomBytes(4).toString("hex")}`;
  // Without a terminal, curl prints a progress meter.
  writeFileSync(join(cwd, ".curlrc"), "silent\nshow-error\n");
  const own = join(cwd, "bin");
  mkdirSync(own);
  for (const path of [join(cwd, "bunker"), join(own, "bunker")])
    symlinkSync(ownWords.at(-1) ?? "", path);
  // The binary is Bun as well.
  const bun = `#!/bin/sh\nBUN_BE_BUN=1 exec '${join(cwd, "bunker")}' "$@"\n`;
  writeFileSync(join(own, "bun"), bun, { mode: 0o755 });
  symlinkSync(join(import.meta.dir, "../../node_modules"), join(cwd, "node_modules"));
  const account = process.getuid?.() === 0 ? { uid: OTHER_UID, gid: OTHER_UID } : {};
  const shell = spawn("bash", ["--norc"], {
    cwd,
    env: {
      PATH: `${own}:/usr/bin:/bin:${process.env["PATH"]}`,
      HOME: cwd,
      PORT: port,
      LC_ALL: "C.UTF-8",
      GO111MODULE: "off",
      GOPATH: "/usr/share/gocode",
    },
    detached: true,
    ...account,
  });
  let output = "";
  const add = (chunk: Buffer) => {
    output += chunk;
  };
  shell.stdout.on("data", add);
  shell.stderr.on("data", add);
  const server = process.env["E2E_DATABASE_URL"] ?? SUPERUSER_URL;
  const localized = (text: string) =>
    Object.entries(replaced)
      .reduce((all, [named, own]) => all.replaceAll(named, own), text)
      .replaceAll(FOLDER, cwd)
      .replaceAll(SUPERUSER_URL, server)
      .replaceAll(DATABASE_HOST, new URL(server).host)
      .replaceAll(new RegExp(`(localhost|127.0.0.1|0.0.0.0):${PORT}`, "g"), `$1:${port}`)
      .replaceAll(new RegExp(`(localhost:|--port |"PORT=)${API_PORT}`, "g"), `$1${apiPort}`)
      .replaceAll(DATABASE, database);

  async function run(command: string) {
    const mark = `@@${randomBytes(8).toString("hex")}`;
    output = "";
    shell.stdin.write(
      `{ ${localized(command)}\n} 2>&1 </dev/null; printf '\\n${mark} %s\\n' "$?"\n`,
    );
    const giveUpAt = performance.now() + STEP_MAX_MS;
    for (;;) {
      const [all, code] = new RegExp(`\\n${mark} (\\d+)\\n`).exec(output) ?? [];
      if (all) return { code: Number(code), output: output.slice(0, output.indexOf(all)) };
      if (performance.now() > giveUpAt) throw new Error(`${command}: no end.\n${output}`);
      await sleep(10);
    }
  }

  async function stop() {
    await run('[ -z "$SERVER" ] || { kill "$SERVER"; wait "$SERVER"; }; SERVER=');
    while (postgresIn(cwd).length > 0) await sleep(20);
  }

  async function serve(command: string) {
    await stop();
    await run(`${command} >server.log 2>&1 & SERVER=$!`);
    const giveUpAt = performance.now() + START_MAX_MS;
    for (;;) {
      const { output: log } = await run("cat server.log");
      const isReady = await fetch(`http://127.0.0.1:${port}/readyz`).then(
        ({ ok }) => ok,
        () => false,
      );
      if (isReady && log.includes("Database")) return log;
      if (performance.now() > giveUpAt) throw new Error(`${command}: not ready.\n${log}`);
      await sleep(50);
    }
  }

  async function background(command: string, url: string) {
    await run(`${command} >>other.log 2>&1 &`);
    const giveUpAt = performance.now() + START_MAX_MS;
    while (!(await fetch(localized(url)).catch(() => false))) {
      if (performance.now() > giveUpAt)
        throw new Error(`${command}: not ready.\n${(await run("cat other.log")).output}`);
      await sleep(50);
    }
  }

  async function close() {
    await stop();
    if (process.env["E2E_DATABASE_URL"])
      await run(
        `psql -q ${SUPERUSER_URL} -c 'drop database if exists ${DATABASE} with (force)' -c 'drop role if exists ${DATABASE}'`,
      );
    // The shell is the leader of a process group, which has its background jobs too.
    process.kill(-(shell.pid ?? 0), "SIGKILL");
  }

  const write = (path: string, text: string) => {
    mkdirSync(join(cwd, dirname(path)), { recursive: true });
    // Debian has version 4 of this library, without the suffix.
    const installable = text.replaceAll("golang-jwt/jwt/v5", "golang-jwt/jwt");
    writeFileSync(join(cwd, path), `${localized(installable)}\n`);
  };
  return { run, serve, background, write, localized, close };
}
