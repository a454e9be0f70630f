import { Exit } from "../kit/exit.ts";
import { takeEnvFiles } from "./env-file.ts";
import { WORKER } from "./serve/role.ts";

/** Runs what was typed. Throws an Exit with code 2 for what is not a command. */
export async function run(argv: string[]): Promise<void> {
  if (argv[0] === WORKER) return (await import("./serve/serve.ts")).work();
  refusePassword(argv);
  const { words, variables } = takeEnvFiles(argv) ?? { words: argv, variables: {} };
  // The environment has precedence, and an empty variable is none.
  for (const [name, value] of Object.entries(variables)) process.env[name] ||= value;
  // Serving does not wait for the parser.
  if (words.length === 0 || (words.length === 1 && words[0] === "serve"))
    return (await import("./serve/serve.ts")).serve();
  const { parse } = await import("./parse.ts");
  const work = await parse(words);
  await work?.();
}

/** Before anything else looks at it: no message may repeat it. */
function refusePassword(argv: string[]): void {
  const typed = argv.slice(0, argv.includes("--") ? argv.indexOf("--") : argv.length);
  const isPassword = (word: string) =>
    /^--pass/i.test(word) && !/^--password-(file(=.*)?|hash)$/.test(word);
  if (!typed.some(isPassword)) return;
  throw new Exit(
    "usage",
    "A password is never typed as an argument, where others can read it: leave it out to be asked for it.\nbunker --help lists the commands.",
  );
}
