import { closeSync, constants, fstatSync, openSync, write as writeLater, writeSync } from "node:fs";
import { isatty } from "node:tty";
import { Exit } from "./kit/exit.ts";
import { exitBySignal } from "./kit/signals.ts";

const { O_NOCTTY, O_NONBLOCK, O_WRONLY } = constants;
export const STANDARD_OUTPUT = 1;
export const STANDARD_ERROR = 2;
const RETRY_MS = 5;

/** Writes a result. Synchronous, so that a slow reader gets all of it before the process ends. */
export const print = (text: string): void => write(STANDARD_OUTPUT, `${text}\n`);

/** Writes a message to standard error. Synchronous, as `print` is. */
export const printNote = (text: string): void => write(STANDARD_ERROR, `${text}\n`);

function write(fd: number, text: string): void {
  const bytes = Buffer.from(text);
  let written = 0;
  while (written < bytes.length)
    try {
      written += writeSync(fd, bytes, written);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // `head` and similar programs close the pipe once they have enough. That is not an error.
      if (code === "EPIPE") exitBySignal("SIGPIPE");
      if (code !== "EAGAIN")
        throw new Exit(
          "failed",
          `Cannot write to ${fd === STANDARD_OUTPUT ? "standard output" : "standard error"} (${code}).`,
        );
      Bun.sleepSync(RETRY_MS);
    }
}

/**
 * Writes the banner of a server: a full pipe, a closed reader or a full disk do not stop the
 * server. No thread waits for a pipe or a terminal, because the same threads hash passwords.
 */
export function announce(text: string): void {
  const copy = reopenNonBlocking(STANDARD_OUTPUT);
  if (copy === undefined) {
    writeLater(STANDARD_OUTPUT, `${text}\n`, () => {});
    return;
  }
  try {
    writeSync(copy, `${text}\n`);
  } catch {
    // Only the banner is lost.
  } finally {
    closeSync(copy);
  }
}

/** A pipe or terminal, non-blocking only for us: other writers keep their mode. Linux only. */
function reopenNonBlocking(fd: number): number | undefined {
  try {
    const target = fstatSync(fd);
    if (!target.isFIFO() && !target.isCharacterDevice()) return undefined;
    return openSync(`/proc/self/fd/${fd}`, O_WRONLY | O_NONBLOCK | O_NOCTTY);
  } catch {
    return undefined;
  }
}

/**
 * FORCE_COLOR decides first, then NO_COLOR (no-color.org), TERM=dumb and whether it is a terminal.
 */
export function hasColor(
  fd: number,
  env: Record<string, string | undefined> = process.env,
): boolean {
  const { FORCE_COLOR: forced, NO_COLOR, TERM } = env;
  if (forced) return forced !== "0" && forced !== "false";
  return !NO_COLOR && TERM !== "dumb" && isatty(fd);
}

/** A JSON array, or a line for each row, as rows arrive: memory may not hold all of them. */
export async function printList<T>(
  rows: AsyncIterable<T> | Iterable<T>,
  isJson: boolean | undefined,
  show: { json: (row: T) => object; text: (row: T) => string; empty: string },
): Promise<void> {
  let count = 0;
  for await (const row of rows) {
    if (isJson)
      write(STANDARD_OUTPUT, `${count === 0 ? "[" : ",\n"}${JSON.stringify(show.json(row))}`);
    else print(show.text(row));
    count += 1;
  }
  if (isJson) print(count === 0 ? "[]" : "]");
  else if (count === 0) print(show.empty);
}

export type JsonFlag = { json?: boolean };

export interface Answer {
  json: unknown;
  text: string;
}

export const printAnswer = ({ json, text }: Answer, isJson: boolean | undefined): void =>
  print(isJson ? JSON.stringify(json) : text);
