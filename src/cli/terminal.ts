import { writeSync } from "node:fs";
import { Exit } from "../kit/exit.ts";

/** What a command was typed with. */
export interface Typed {
  words: string[];
  flags: Record<string, string | boolean | undefined>;
}

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
      written += writeSync(1, bytes, written);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EPIPE") throw new Exit("failed", "Nobody reads the output any more.");
      if (code !== "EAGAIN") throw error;
      Bun.sleepSync(RETRY_MS);
    }
}
