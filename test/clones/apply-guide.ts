/** Reads a guide of docs/ that shows code: its files, and the commands it names. */
import { join } from "node:path";
import type { Copy } from "./scratch.ts";

export interface Guide {
  /** Each file that the guide shows in full, by its path. */
  files: Map<string, string>;
  /** Each command of its `sh` blocks. Blocks with output (`console`) are left out. */
  commands: string[];
}

export async function readGuide(name: string): Promise<Guide> {
  const page = await Bun.file(join(import.meta.dir, "../../docs", name)).text();
  const shown = page.matchAll(/^`([\w/.-]+)`:\n\n```ts\n(.*?)\n```$/gms);
  const blocks = page.matchAll(/^```sh\n(.*?)\n```$/gms);
  return {
    files: new Map([...shown].map(([, path = "", text = ""]) => [path, `${text}\n`])),
    commands: [...blocks].flatMap(([, text = ""]) => text.split("\n")),
  };
}

/** Does what a guide says, up to its migration. */
export async function applyGuide(copy: Copy, { files, commands }: Guide): Promise<void> {
  for (const [path, text] of files) await copy.write(path, text);
  const isMigration = (command: string) => command.startsWith("bun run db:generate:product ");
  for (const command of commands.filter(isMigration)) {
    const [program = "", ...args] = command.split(" ");
    copy.run(program, ...args);
  }
}

/** Lines without blank ones and those that have only a comment. */
export const linesOfCode = (text: string): string[] =>
  text.split("\n").filter((line) => !/^\s*($|\/\/|\/?\*)/.test(line));
