/** What a command was typed with. */
export interface Typed {
  words: string[];
  flags: Record<string, string | boolean | undefined>;
}

/** Writes what a command was asked for; warnings and logs go to standard error. */
export const print = (text: string) => void process.stdout.write(`${text}\n`);
