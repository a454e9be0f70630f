import { Exit } from "../kit/exit.ts";
import { WORKER } from "../server/process-role.ts";
import { takeEnvFiles } from "./env-file.ts";

export async function run(argv: string[]): Promise<void> {
  // Only with an IPC channel to a primary process: typed by hand, it is not a command.
  if (argv[0] === WORKER && process.send)
    return (await import("../server/serve.ts")).serveAsWorker();
  refusePassword(argv);
  const { words, variables } = takeEnvFiles(argv);
  // The environment has precedence. An empty variable counts as unset.
  for (const [name, value] of Object.entries(variables)) process.env[name] ||= value;
  // A server starts faster without the parser.
  if (words.length === 0 || (words.length === 1 && words[0] === "serve"))
    return (await import("../server/serve.ts")).serve();
  const { parse } = await import("./parse.ts");
  const work = await parse(words);
  await work?.();
}

/** Runs before anything else reads the arguments: no message may repeat a password. */
function refusePassword(argv: string[]): void {
  const typed = argv.slice(0, argv.includes("--") ? argv.indexOf("--") : argv.length);
  const isPassword = (word: string) =>
    /^--pass/i.test(word) && !/^--password-(file(=.*)?|hash)$/.test(word);
  if (!typed.some(isPassword)) return;
  throw new Exit(
    "usage",
    "A password is not an argument, because other users of this machine can read arguments. Leave it out: the command asks for it.\nbunker --help lists the commands.",
  );
}
