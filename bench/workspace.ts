import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export interface Program {
  child: Bun.Subprocess;
  /** Its standard error so far. */
  stderr: () => string;
}

/** Programs, databases and files of a run. All are removed when it ends, also after Ctrl-C. */
export interface Workspace {
  /** A folder that every OS user may enter. */
  dir: string;
  /** Starts a program whose environment is `env`, PATH and HOME. */
  start: (command: string[], env: Record<string, string>) => Program;
  /** Runs a program and returns its output. Throws an Error with its standard error if it fails. */
  run: (command: string[]) => Promise<string>;
  /** Runs a file of this folder with options as JSON, and returns the JSON that it prints. */
  runScript: <T>(file: string, options: object) => Promise<T>;
  /** Adds a cleanup. The last one runs first. */
  onClose: (cleanup: () => unknown) => void;
  close: () => Promise<void>;
  /** True after Ctrl-C: failures from then on are expected. */
  isInterrupted: () => boolean;
}

const STOP_MAX_MS = 15_000;

export function openWorkspace(): Workspace {
  const dir = mkdtempSync(join(tmpdir(), "bunker-bench-"));
  // As root, the embedded PostgreSQL runs as another OS user, which must be able to enter.
  chmodSync(dir, 0o755);
  const cleanups: (() => unknown)[] = [() => rmSync(dir, { recursive: true, force: true })];
  const onClose = (cleanup: () => unknown) => void cleanups.push(cleanup);
  let closing: Promise<void> | undefined;
  const close = () => {
    closing ??= cleanUp(cleanups);
    return closing;
  };
  const refuseIfClosing = () => {
    if (closing !== undefined) throw new Error("the run has ended");
  };
  const start = (command: string[], env: Record<string, string>): Program => {
    refuseIfClosing();
    const { PATH = "", HOME = "" } = process.env;
    const errors = join(dir, `stderr-${cleanups.length}.txt`);
    const child = Bun.spawn(command, {
      cwd: dir,
      env: { PATH, HOME, ...env },
      stdio: ["ignore", "ignore", Bun.file(errors)],
    });
    const program = { child, stderr: () => readFileSync(errors, "utf8") };
    onClose(() => stop(program));
    return program;
  };
  const run = async (command: string[]): Promise<string> => {
    refuseIfClosing();
    const child = Bun.spawn(command, { cwd: dir, stdio: ["ignore", "pipe", "pipe"] });
    onClose(() => child.kill("SIGKILL"));
    const [printed, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
    if ((await child.exited) !== 0) throw new Error(`${command.join(" ")} failed:\n${stderr}`);
    return printed;
  };
  let interrupted = false;
  for (const [signal, status] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)
    process.once(signal, () => {
      interrupted = true;
      void close().then(() => process.exit(status));
    });
  const runScript = async <T>(file: string, options: object): Promise<T> =>
    JSON.parse(await run([process.execPath, join(import.meta.dir, file), JSON.stringify(options)]));
  return { dir, start, run, runScript, onClose, close, isInterrupted: () => interrupted };
}

async function cleanUp(cleanups: (() => unknown)[]): Promise<void> {
  for (let cleanup = cleanups.pop(); cleanup; cleanup = cleanups.pop()) {
    try {
      await cleanup();
    } catch (error) {
      console.error(`Cleanup failed: ${(error as Error).message}`);
    }
  }
}

/** Stops a program by SIGTERM, and after 15 seconds by SIGKILL. */
export async function stop({ child }: Program): Promise<void> {
  child.kill("SIGTERM");
  const kill = setTimeout(() => child.kill("SIGKILL"), STOP_MAX_MS);
  await child.exited;
  clearTimeout(kill);
}

const START_MAX_MS = 60_000;
const POLL_MS = 0.25;

/** Waits until GET /livez returns 200. Throws an Error if the program ends, or after a minute. */
export async function untilServing(program: Program, port: number): Promise<void> {
  const giveUpAt = performance.now() + START_MAX_MS;
  while (!(await isServing(port))) {
    if (program.child.exitCode !== null || performance.now() > giveUpAt)
      throw new Error(`A server did not start:\n${program.stderr()}`);
    await sleep(POLL_MS);
  }
}

const PROBE = "GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

function isServing(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const no = () => resolve(false);
  Bun.connect({
    hostname: "127.0.0.1",
    port,
    socket: {
      open: (socket) => void socket.write(PROBE),
      data: (socket, chunk) => {
        resolve(chunk.toString("latin1").startsWith("HTTP/1.1 200"));
        socket.end();
      },
      close: no,
      error: no,
    },
  }).catch(no);
  return promise;
}

export function findFreePort(): number {
  const server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => {} } });
  server.stop(true);
  return server.port;
}
