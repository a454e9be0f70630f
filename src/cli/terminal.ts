import { closeSync, constants, fstatSync, openSync, write, writeSync } from "node:fs";
import { Exit } from "../kit/exit.ts";

/** What a command was typed with. */
export interface Typed {
  words: string[];
  flags: Record<string, string | boolean | undefined>;
}

const { O_NOCTTY, O_NONBLOCK, O_WRONLY } = constants;
const STANDARD_OUTPUT = 1;
const RETRY_MS = 5;

/**
 * Writes what a command was asked for; warnings and logs go to standard error. Synchronous, so that a slow reader gets all
 * of it before the process ends.
 */
export function print(text: string): void {
  const bytes = Buffer.from(`${text}\n`);
  let written = 0;
  while (written < bytes.length)
    try {
      written += writeSync(STANDARD_OUTPUT, bytes, written);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EPIPE") throw new Exit("failed", "Nobody reads the output any more.");
      if (code !== "EAGAIN") throw error;
      Bun.sleepSync(RETRY_MS);
    }
}

/**
 * Writes what a server says of itself. Nobody waits for it: a full pipe, a reader who has left and a full disk stop nothing.
 * Nor does a thread wait for a pipe or a terminal: it would be missing where passwords are hashed. (For a socket one may.)
 */
export function mention(text: string): void {
  const place = openAnew(STANDARD_OUTPUT);
  if (place === undefined) {
    write(STANDARD_OUTPUT, `${text}\n`, () => {});
    return;
  }
  try {
    writeSync(place, `${text}\n`);
  } catch {
    // Said once, and not heard.
  } finally {
    closeSync(place);
  }
}

/** A pipe or a terminal once more, without waiting: how others write to the same one is their own affair. Linux only. */
function openAnew(fd: number): number | undefined {
  try {
    const place = fstatSync(fd);
    if (!place.isFIFO() && !place.isCharacterDevice()) return undefined;
    return openSync(`/proc/self/fd/${fd}`, O_WRONLY | O_NONBLOCK | O_NOCTTY);
  } catch {
    return undefined;
  }
}
