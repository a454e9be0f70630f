/** Reads docs/add-a-resource.md: its files, and the commands it names. */
import { join } from "node:path";
import type { Copy } from "./scratch.ts";

const page = await Bun.file(join(import.meta.dir, "../../docs/add-a-resource.md")).text();

/** Each file that the guide shows in full, by its path. */
export const files = new Map(
  [...page.matchAll(/^`([\w/.-]+)`:\n\n```ts\n(.*?)\n```$/gms)].map(([, path = "", text = ""]) => [
    path,
    `${text}\n`,
  ]),
);
/** Each command of the guide that is for a shell without a running server. */
export const commands = [...page.matchAll(/^```sh\n(.*?)\n```$/gms)].flatMap(([, text = ""]) =>
  text.split("\n"),
);

/** Does what the guide says, up to its migration. */
export async function applyGuide(copy: Copy): Promise<void> {
  for (const [path, text] of files) await copy.write(path, text);
  copy.run("bun", "run", "db:generate:product");
}

/** Lines without blank ones and those that have only a comment. */
export const linesOfCode = (text: string): string[] =>
  text.split("\n").filter((line) => !/^\s*($|\/\/|\/?\*)/.test(line));
