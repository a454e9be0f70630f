import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export interface Program {
  child: Bun.Subprocess;
  /** What it has written to standard error. */
  complaints: () => string;
}

/** Everything that a run starts and makes, so that nothing of it is left when the run ends, however it ends. */
export interface Stage {
  /** A folder of its own, which every account may enter. */
  dir: string;
  /** Starts a program that sees `env` and nothing else of ours. */
  start: (command: string[], env: Record<string, string>) => Program;
  /** Runs a program to its end and answers what it printed. Throws its complaints where it fails. */
  run: (command: string[]) => Promise<string>;
  /** To be undone at the end, the last first. */
  atEnd: (undo: () => unknown) => void;
  close: () => Promise<void>;
  /** True when somebody pressed Ctrl-C: whatever fails from then on is no news. */
  isInterrupted: () => boolean;
}

const STOP_MAX_MS = 15_000;

export function openStage(): Stage {
  const dir = mkdtempSync(join(tmpdir(), "bunker-bench-"));
  // An embedded database that is started by root runs as another account, which has to come this far.
  chmodSync(dir, 0o755);
  const undos: (() => unknown)[] = [() => rmSync(dir, { recursive: true, force: true })];
  const atEnd = (undo: () => unknown) => void undos.push(undo);
  let closing: Promise<void> | undefined;
  const close = () => {
    closing ??= undoAll(undos);
    return closing;
  };
  const refuseLate = () => {
    if (closing !== undefined) throw new Error("the run is over");
  };
  const start = (command: string[], env: Record<string, string>): Program => {
    refuseLate();
    const { PATH = "", HOME = "" } = process.env;
    const errors = join(dir, `stderr-${undos.length}.txt`);
    const child = Bun.spawn(command, {
      cwd: dir,
      env: { PATH, HOME, ...env },
      stdio: ["ignore", "ignore", Bun.file(errors)],
    });
    const program = { child, complaints: () => readFileSync(errors, "utf8") };
    atEnd(() => stop(program));
    return program;
  };
  const run = async (command: string[]): Promise<string> => {
    refuseLate();
    const child = Bun.spawn(command, { cwd: dir, stdio: ["ignore", "pipe", "pipe"] });
    atEnd(() => child.kill("SIGKILL"));
    const [printed, complaints] = await Promise.all([child.stdout.text(), child.stderr.text()]);
    if ((await child.exited) !== 0) throw new Error(`${command.join(" ")} failed:\n${complaints}`);
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
  return { dir, start, run, atEnd, close, isInterrupted: () => interrupted };
}

async function undoAll(undos: (() => unknown)[]): Promise<void> {
  for (let undo = undos.pop(); undo; undo = undos.pop()) {
    try {
      await undo();
    } catch (error) {
      console.error(`Not cleared up: ${(error as Error).message}`);
    }
  }
}

/** Asks it to end, and makes it end where it does not. */
export async function stop({ child }: Program): Promise<void> {
  child.kill("SIGTERM");
  const insist = setTimeout(() => child.kill("SIGKILL"), STOP_MAX_MS);
  await child.exited;
  clearTimeout(insist);
}

const ANSWER_MAX_MS = 60_000;
const POLL_MS = 0.25;

/** Waits until `port` answers GET /livez with 200. Throws what the program said where it ends instead. */
export async function untilAnswering(program: Program, port: number): Promise<void> {
  const giveUpAt = performance.now() + ANSWER_MAX_MS;
  while (!(await isAnswering(port))) {
    if (program.child.exitCode !== null || performance.now() > giveUpAt)
      throw new Error(`A server did not start:\n${program.complaints()}`);
    await sleep(POLL_MS);
  }
}

const PROBE = "GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

function isAnswering(port: number): Promise<boolean> {
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
