import { createInterface } from "node:readline";
import { Writable } from "node:stream";
import { decodeText, passwordOf, readText } from "../config/text-file.ts";
import { Exit } from "../kit/exit.ts";

/** Reads a password from a file, from standard input, or typed on a terminal. */
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
  const noEcho = new Writable({ write: (_chunk, _encoding, done) => done() });
  const terminal = createInterface({ input: process.stdin, output: noEcho, terminal: true });
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
