import { createInterface } from "node:readline";
import { Writable } from "node:stream";
import { Exit } from "../kit/exit.ts";
import { decodeText, passwordOf, readText } from "../kit/text-file.ts";

/** The password, from a file or from standard input, alike; or typed on a terminal, where it is taken as it is. */
export async function readNewPassword(file: string | undefined): Promise<string> {
  if (file === undefined && process.stdin.isTTY) return ask("New password: ");
  const source = file === undefined ? "The password on standard input" : "The password file";
  try {
    return passwordOf(file === undefined ? decodeText(await Bun.stdin.bytes()) : readText(file));
  } catch (error) {
    throw new Exit("failed", `${source} ${(error as Error).message}.`);
  }
}

/** Asks on the terminal without showing what is typed. */
async function ask(question: string): Promise<string> {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const terminal = createInterface({ input: process.stdin, output: nowhere, terminal: true });
  process.stderr.write(question);
  try {
    return await new Promise((resolve, reject) => {
      terminal.question("", resolve);
      terminal.once("close", () => reject(new Exit("failed", "Nothing was changed.")));
    });
  } finally {
    terminal.close();
    process.stderr.write("\n");
  }
}
