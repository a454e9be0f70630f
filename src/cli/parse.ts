import {
  type ApplicationText,
  ArgumentParseError,
  buildApplication,
  FlagNotFoundError,
  help,
  run as runParser,
  text_en,
  UnexpectedFlagError,
  UnexpectedPositionalError,
  UnsatisfiedFlagError,
  UnsatisfiedPositionalError,
} from "@stricli/core";
import { Exit } from "../kit/exit.ts";
import { hasColor, print, STANDARD_OUTPUT } from "../terminal.ts";
import { markDash, type Parsing, unmarkDash } from "./command.ts";
import { commands, groupsOf } from "./commands.ts";

/** How many edits away from a typed word a suggestion may be. */
const EDITS_MAX = 2;

/**
 * Finds the command for the typed words. Prints the help and returns undefined if they ask for it.
 * Throws an Exit with code 2 and a hint if they are not a command.
 */
export async function parse(typed: string[]): Promise<(() => Promise<void>) | undefined> {
  const words = asCommand(typed).map(markDash);
  let place = "bunker";
  let faults = "";
  const parsing: Parsing = {
    process: {
      stdout: {
        write: (text) => print(withoutFlagUsage(text)),
        getColorDepth: () => (hasColor(STANDARD_OUTPUT) ? 4 : 1),
      },
      stderr: {
        write: (text) => {
          faults += text;
        },
      },
    },
  };
  const forCommand = ({ prefix }: { prefix: readonly string[] }) => {
    place = prefix.join(" ");
    return parsing;
  };
  const text = textWith((unknown, corrections) => {
    place = ["bunker", ...words.slice(0, words.indexOf(unknown))].join(" ");
    return unknownAt(place, unknown, corrections);
  });
  await runParser(applicationWith(text), words, { ...parsing, forCommand });
  if (faults !== "")
    throw new Exit("usage", unmarkDash(`${faults.trimEnd()}\nSee: ${place} --help`));
  return parsing.work;
}

/** `help users create` is `users create --help`. */
function asCommand(typed: string[]): string[] {
  const [first = "", ...rest] = typed;
  if (first === "help") return [...rest, "--help"];
  return first === "--version" || first === "-v" ? ["version", ...rest] : typed;
}

/** Removes the usage lines that the parser prints for the flags that every command has. */
const withoutFlagUsage = (text: string) =>
  text.replaceAll(/^ {2}bunker.* --(help|env-file)\n/gm, "").trimEnd();

const formatting = {
  caseStyle: "original",
  useAliasInUsageLine: false,
  onlyRequiredInUsageLine: false,
} as const;

const applicationWith = (text: ApplicationText) =>
  buildApplication<Parsing>(
    commands,
    {
      name: "bunker",
      scanner: {
        caseStyle: "original",
        allowArgumentEscapeSequence: true,
        distanceOptions: {
          threshold: EDITS_MAX,
          weights: { insertion: 1, deletion: 1, substitution: 1, transposition: 1 },
        },
      },
      localization: { text },
    },
    {
      // Only for the help: `takeEnvFiles` removes it from the command line before this parser runs.
      "env-file": { flag: { brief: "Add settings from a file", global: true, run: () => {} } },
      help: help({ brief: "Show how to use a command", defaultForRouteMap: true, formatting }),
    },
  );

const textWith = (
  onUnknown: (word: string, corrections: readonly string[]) => string,
): ApplicationText => ({
  ...text_en,
  briefs: {
    ...text_en.briefs,
    argumentEscapeSequence: "Treat all following words as arguments, not as flags",
  },
  noCommandRegisteredForInput: ({ input, corrections }) => onUnknown(input, corrections),
  exceptionWhileParsingArguments: faultOf,
});

function unknownAt(place: string, word: string, corrections: readonly string[]): string {
  const [flag = ""] = word.split("=", 1);
  if (/^--[a-z-]+$/.test(flag))
    return `${place} has no flag ${flag}. Settings are environment variables.`;
  const meant = corrections.length > 0 ? corrections : groupsOf(word).map((one) => `\`${one}\``);
  if (meant.length === 0) return `${place} has no such command.`;
  return `${place} has no command \`${word}\`. Did you mean ${meant.join(" or ")}?`;
}

/** Repeats only names of flags and arguments: a word in the wrong place may be a password. */
function faultOf(error: unknown): string {
  if (error instanceof FlagNotFoundError) {
    const meant = error.corrections.map((one) => `--${one}`).join(" or ");
    const hint = meant
      ? `Did you mean ${meant}?`
      : "Settings are environment variables. Put an argument that begins with two dashes after --.";
    return `There is no flag --${error.input}. ${hint}`;
  }
  if (error instanceof UnsatisfiedFlagError) return `--${error.externalFlagName} needs a value.`;
  if (error instanceof UnexpectedFlagError) return `--${error.externalFlagName} is given twice.`;
  if (error instanceof UnsatisfiedPositionalError) return `${error.placeholder} is missing.`;
  if (error instanceof UnexpectedPositionalError)
    return error.expectedCount === 0
      ? "Too many arguments: this command takes none."
      : `Too many arguments: this command takes ${error.expectedCount}.`;
  if (error instanceof ArgumentParseError) {
    const { exception, externalFlagNameOrPlaceholder: name } = error;
    const fault =
      exception instanceof SyntaxError
        ? "has a value that is not allowed"
        : (exception as Error).message;
    return `--${name} ${fault}.`;
  }
  throw error;
}
