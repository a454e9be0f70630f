import { readText } from "../config/text-file.ts";
import { ENV_FILE } from "../environment.ts";
import { Exit, misconfigured } from "../kit/exit.ts";

/** Takes each `--env-file FILE` before `--`, and reads it. Throws an Exit if it cannot be used. */
export function takeEnvFiles(argv: string[]) {
  const end = argv.includes("--") ? argv.indexOf("--") : argv.length;
  const words: string[] = [];
  const files: string[] = [];
  for (let at = 0; at < end; at += 1) {
    const word = argv[at] ?? "";
    if (word === ENV_FILE) {
      at += 1;
      files.push(at < end ? (argv[at] ?? "") : "");
    } else if (word.startsWith(`${ENV_FILE}=`)) files.push(word.slice(ENV_FILE.length + 1));
    else words.push(word);
  }
  if (files.includes("")) throw new Exit("usage", `${ENV_FILE} needs the path of a file.`);
  /** A later file has precedence. */
  const variables: Record<string, string> = Object.assign({}, ...files.map(read));
  return { words: [...words, ...argv.slice(end)], variables };
}

function read(path: string): Record<string, string> {
  try {
    return parseEnvFile(readText(path));
  } catch (error) {
    throw misconfigured(`${ENV_FILE}: ${path} ${(error as Error).message}.`);
  }
}

const BLANK = /(?:[ \t]*(?:[#;](?:\\.|[^\n\\])*)?\n)*[ \t]*(?:[#;](?:\\.|[^\n\\])*)?/sy;
const NAME = /(?:export[ \t]+)?([A-Za-z_]\w*)[ \t]*=[ \t]*/sy;
const QUOTED = /'([^']*)'[ \t]*|"((?:\\.|[^"\\])*)"[ \t]*/sy;
const PLAIN = /(?:\\.|[^\n\\])*/sy;

/**
 * Reads the syntax of systemd's EnvironmentFile (systemd.exec(5)): a quoted value may have several
 * lines, and outside quotes a backslash takes the next character literally. Throws an Error that
 * names the line, but no value.
 */
export function parseEnvFile(text: string): Record<string, string> {
  const source = text.replaceAll("\r\n", "\n");
  const found: Record<string, string> = {};
  let at = 0;
  const take = (pattern: RegExp) => {
    pattern.lastIndex = at;
    const match = pattern.exec(source);
    at += match?.[0].length ?? 0;
    return match;
  };
  const lineOf = (offset: number) => `line ${source.slice(0, offset).split("\n").length}`;
  for (;;) {
    take(BLANK);
    if (at >= source.length) return found;
    const start = at;
    const [, name] = take(NAME) ?? [];
    if (name === undefined) throw new Error(`has no NAME=value in ${lineOf(start)}`);
    let value = "";
    for (let quoted = take(QUOTED); quoted; quoted = take(QUOTED))
      value += quoted[1] ?? unescapeQuoted(quoted[2] ?? "");
    const rest = take(PLAIN)?.[0] ?? "";
    if (/^["']/.test(rest)) throw new Error(`has a quote that is not closed in ${lineOf(start)}`);
    value += unescapePlain(rest);
    if (value !== "") found[name] = value;
  }
}

const unescapeQuoted = (text: string) =>
  text.replaceAll(/\\(["\\`$])|\\\n/g, (_, letter: string | undefined) => letter ?? "");

/** Removes blanks at the end, except behind a backslash. */
const unescapePlain = (text: string) =>
  text
    .replace(/((?:\\.|[^\\])*?)[ \t]*$/s, "$1")
    .replaceAll(/\\(.)/gs, (_, letter: string) => (letter === "\n" ? "" : letter));
