/** Runs Bunker as a program: the binary of the variable BUNKER, or from source. */
import { afterAll, afterEach } from "bun:test";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const binary = process.env["BUNKER"];
export const isBinary = binary !== undefined;
/** The beginning of each command line. */
export const ownWords = binary
  ? [resolve(binary)]
  : [process.execPath, join(import.meta.dir, "../../src/main.ts")];
const [program = "", ...source] = ownWords;

/** How often tests for races repeat: a few times during development, often in CI. */
export const rounds = Number(process.env["ROUNDS"] ?? 3);
const START_MAX_MS = 30_000;

export interface Result {
  code: number | null;
  out: string;
  err: string;
}
export interface Run {
  /** The beginning of the command line, to run another program than this Bunker. */
  words?: string[];
  env?: Record<string, string>;
  input?: string;
  uid?: number;
  cwd?: string;
  /** Files for standard output and standard error. */
  stdout?: number;
  stderr?: number;
  /**
   * Makes it the leader of a process group, as a shell does, so that a signal can reach the group.
   */
  isGroup?: boolean;
}

// Only PATH and the like of this process: the machine may have settings in its environment.
const environment = (env: Record<string, string> = {}) => ({
  PATH: process.env["PATH"] ?? "",
  ...env,
});

function launch(
  args: string[],
  { env, uid, cwd, stdout, stderr, isGroup = false, words = ownWords }: Run,
): ChildProcess {
  const account = uid === undefined ? {} : { uid, gid: uid };
  const [program = "", ...source] = words;
  return spawn(program, [...source, ...args], {
    cwd: cwd ?? tmpdir(),
    env: environment(env),
    stdio: ["pipe", stdout ?? "pipe", stderr ?? "pipe"],
    detached: isGroup,
    ...account,
  });
}

function collect(child: ChildProcess) {
  const said = { out: "", err: "" };
  child.stdout?.on("data", (chunk) => {
    said.out += chunk;
  });
  child.stderr?.on("data", (chunk) => {
    said.err += chunk;
  });
  return said;
}

/** Runs one command to its end. */
export async function command(args: string[], run: Run = {}): Promise<Result> {
  const child = launch(args, run);
  running.add(child);
  const said = collect(child);
  child.stdin?.end(run.input ?? "");
  const code = await new Promise<number | null>((done) => child.once("close", done));
  running.delete(child);
  return { code, ...said };
}

/** The output of a shell pipeline that begins with a command of Bunker. */
export async function shell(pipeline: string): Promise<string> {
  const line = `${[program, ...source].map((word) => `'${word}'`).join(" ")} ${pipeline}`;
  const child = spawn("sh", ["-c", line], { cwd: tmpdir(), env: environment() });
  const said = collect(child);
  await new Promise((done) => child.once("close", done));
  return said.out;
}

const folders: string[] = [];
/** An empty folder that other OS users may enter. It is removed after the tests. */
export function emptyFolder(): string {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), "bunker-e2e-"));
  chmodSync(folder, 0o1777);
  folders.push(folder);
  return folder;
}

/**
 * A folder where Bunker was started before, without users: a start takes a tenth of a first one.
 * Its database is created once for all tests.
 */
export async function usedFolder(): Promise<string> {
  const folder = emptyFolder();
  used ??= useOnce();
  // With its owners: another OS user runs the database.
  execFileSync("cp", ["-a", join(await used, "data"), folder]);
  return folder;
}
let used: Promise<string> | undefined;

async function useOnce(): Promise<string> {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), "bunker-e2e-used-"));
  chmodSync(folder, 0o1777);
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  const server = await serve({ cwd: folder });
  await server.end("SIGTERM");
  return folder;
}

export const freePort = (): Promise<number> =>
  new Promise((done) => {
    const server = createServer();
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => done(typeof address === "object" && address ? address.port : 0));
    });
  });

export interface Serving {
  url: string;
  pid: number;
  said: { out: string; err: string };
  /** Sends a signal and waits until the process ends. */
  end: (signal: NodeJS.Signals) => Promise<number | null>;
}

const running = new Set<ChildProcess>();

/** Starts a server and waits until it is ready. */
export async function serve(run: Run = {}): Promise<Serving> {
  const port = run.env?.["PORT"] ?? String(await freePort());
  const child = launch(["serve"], { ...run, env: { HOST: "127.0.0.1", ...run.env, PORT: port } });
  running.add(child);
  const said = collect(child);
  const ended = new Promise<number | null>((done) =>
    child.once("close", (code) => {
      running.delete(child);
      done(code);
    }),
  );
  const url = `http://127.0.0.1:${port}`;
  const giveUpAt = performance.now() + START_MAX_MS;
  while (!(await isReady(url))) {
    if (!running.has(child)) throw new Error(`the server ended:\n${said.err}${said.out}`);
    if (performance.now() > giveUpAt) throw new Error(`the server is not ready:\n${said.err}`);
    await sleep(10);
  }
  const end = (signal: NodeJS.Signals) => {
    child.kill(signal);
    return ended;
  };
  return { url, pid: child.pid ?? 0, said, end };
}

const isReady = (url: string) =>
  fetch(`${url}/readyz`).then(
    (answer) => answer.ok,
    () => false,
  );

afterEach(() => {
  for (const child of running) child.kill("SIGKILL");
});
// On a busy disk, each of the many folders takes two seconds.
afterAll(async () => {
  for (const folder of folders) {
    while (postgresIn(folder).length > 0) await sleep(20);
    rmSync(folder, { recursive: true, force: true });
  }
}, 300_000);

/** The processes of PostgreSQL with a data directory below `folder`, the postmaster first. */
export function postgresIn(folder: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return (
          readlinkSync(`/proc/${pid}/cwd`).startsWith(folder) &&
          readFileSync(`/proc/${pid}/comm`, "utf8").startsWith("postgres")
        );
      } catch {
        return false;
      }
    })
    .map(Number)
    .sort((a, b) => a - b);
}

/** The lines of the log. */
export const linesOf = (text: string): Record<string, unknown>[] =>
  text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));

const json = { "content-type": "application/json" };

/** The calls of the tour. */
export const client = (url: string) => {
  const post = (path: string, body: object) =>
    fetch(`${url}/api/v1${path}`, { method: "POST", headers: json, body: JSON.stringify(body) });
  const get = (path: string, token: string) =>
    fetch(`${url}/api/v1${path}`, { headers: { authorization: `Bearer ${token}` } });
  return {
    register: (email: string, password: string) => post("/auth/register", { email, password }),
    logIn: async (username: string, password: string): Promise<string> => {
      const answer = await post("/auth/login", { username, password });
      const body = (await answer.json()) as { access_token?: string; code?: string };
      return body.access_token ?? body.code ?? "";
    },
    get,
    /**
     * A change by a command takes effect within a second: repeats the request until it is allowed.
     */
    getAllowed: async (path: string, token: string): Promise<Response> => {
      const giveUpAt = performance.now() + FELT_MAX_MS;
      for (;;) {
        const answer = await get(path, token);
        if (answer.status !== 403 || performance.now() > giveUpAt) return answer;
        await sleep(20);
      }
    },
  };
};
const FELT_MAX_MS = 1_000;
