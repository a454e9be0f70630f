import { type ParseArgsOptionsConfig, parseArgs } from "node:util";
import { type Config, readConfig } from "../config.ts";
import { version } from "../kit/build.ts";
import { Exit } from "../kit/exit.ts";
import { WORKER } from "./serve/role.ts";
import { print, type Typed } from "./terminal.ts";

interface Command {
  usage: string;
  summary: string;
  options?: ParseArgsOptionsConfig;
  /** How many words it takes behind its name, at least and at most. */
  words?: [number, number];
  run: (typed: Typed) => Promise<void>;
}

const json = { type: "boolean" } as const;
const passwordFile = { type: "string" } as const;

/** Every command of the binary; each is imported only when it is called. */
const commands: Record<string, Command> = {
  serve: {
    usage: "[serve]",
    summary: "Serve the API (the default).",
    run: async () => (await import("./serve/serve.ts")).serve(config()),
  },
  migrate: {
    usage: "migrate [status] [--json]",
    summary: "Bring the database schema up to date, or say whether it is.",
    options: { json },
    words: [0, 1],
    run: async (typed) => (await import("./migrate.ts")).migrateCommand(config(), typed),
  },
  "users create": {
    usage:
      "users create EMAIL [--username NAME] [--full-name NAME] [--superuser] [--verified] [--password-file FILE] [--password-hash]",
    summary:
      "Make an account. The password is asked for, or read from standard input or a file; with --password-hash it is a hash from elsewhere. With --verified the address is taken for proven.",
    options: {
      username: { type: "string" },
      "full-name": { type: "string" },
      superuser: { type: "boolean" },
      verified: { type: "boolean" },
      "password-file": passwordFile,
      "password-hash": { type: "boolean" },
    },
    words: [1, 1],
    run: async (typed) => (await import("./users.ts")).create(config(), typed),
  },
  "users list": {
    usage: "users list [--json]",
    summary: "List the accounts.",
    options: { json },
    run: async (typed) => (await import("./users.ts")).list(config(), typed),
  },
  "users promote": {
    usage: "users promote NAME",
    summary: "Make somebody a superuser, by e-mail address, username or id.",
    words: [1, 1],
    run: async (typed) => (await import("./users.ts")).promote(config(), typed),
  },
  "users deactivate": {
    usage: "users deactivate NAME",
    summary: "Refuse somebody's sign-ins and access tokens from now on.",
    words: [1, 1],
    run: async (typed) => (await import("./users.ts")).deactivate(config(), typed),
  },
  "users unlock": {
    usage: "users unlock NAME",
    summary:
      "Clear the failed sign-ins of a user, by email, username or id, so that clients that have not signed in before can do so.",
    words: [1, 1],
    run: async (typed) => (await import("./users.ts")).unlock(config(), typed),
  },
  "users set-password": {
    usage: "users set-password NAME [--password-file FILE]",
    summary: "Give somebody a new password.",
    options: { "password-file": passwordFile },
    words: [1, 1],
    run: async (typed) => (await import("./users.ts")).changePassword(config(), typed),
  },
  "password calibrate": {
    usage: "password calibrate [--milliseconds N] [--json]",
    summary: "Measure this machine, and propose what one hash should cost (PASSWORD_HASH).",
    options: { json, milliseconds: { type: "string" } },
    run: async (typed) => (await import("./password.ts")).calibrate(typed),
  },
  "keys list": {
    usage: "keys list [--json]",
    summary: "List the key pairs that sign and verify access tokens.",
    options: { json },
    run: async (typed) => (await import("./keys.ts")).list(config(), typed),
  },
  "keys rotate": {
    usage: "keys rotate [--now]",
    summary:
      "Let the next key sign from now on. Nobody is signed out. With --now also where it was published just now.",
    options: { now: { type: "boolean" } },
    run: async (typed) => (await import("./keys.ts")).rotate(config(), typed),
  },
  "keys retire": {
    usage: "keys retire KID",
    summary: "Refuse what a key has signed: one that signs no more, or has leaked.",
    words: [1, 1],
    run: async (typed) => (await import("./keys.ts")).retire(config(), typed),
  },
  "clients create": {
    usage: "clients create NAME [--json]",
    summary: "Make a confidential OAuth client; its secret is shown once.",
    options: { json },
    words: [1, 1],
    run: async (typed) => (await import("./clients.ts")).create(config(), typed),
  },
  "clients list": {
    usage: "clients list [--json]",
    summary: "List the OAuth clients.",
    options: { json },
    run: async (typed) => (await import("./clients.ts")).list(config(), typed),
  },
  "clients rotate": {
    usage: "clients rotate ID [--finish]",
    summary: "Give a client another secret; both are good until --finish.",
    options: { finish: { type: "boolean" } },
    words: [1, 1],
    run: async (typed) => (await import("./clients.ts")).rotate(config(), typed),
  },
  "clients delete": {
    usage: "clients delete ID",
    summary: "End a client and its secrets.",
    words: [1, 1],
    run: async (typed) => (await import("./clients.ts")).remove(config(), typed),
  },
  "mail list": {
    usage: "mail list [--json]",
    summary: "List the latest mails: which wait, were sent, or cannot be delivered, and why.",
    options: { json },
    run: async (typed) => (await import("./mail.ts")).list(config(), typed),
  },
  "mail retry": {
    usage: "mail retry [ID]",
    summary: "Try a mail again now that waits or could not be delivered; or all of them.",
    words: [0, 1],
    run: async (typed) => (await import("./mail.ts")).retry(config(), typed),
  },
  "mail test": {
    usage: "mail test ADDRESS",
    summary: "Send a mail at once, and say what the server answers.",
    words: [1, 1],
    run: async (typed) => (await import("./mail.ts")).test(config(), typed),
  },
  config: {
    usage: "config [--json]",
    summary: "Show every setting, its value and where it came from; secrets are masked.",
    options: { json },
    run: async (typed) => (await import("./config.ts")).showConfig(readConfig(process.env), typed),
  },
  openapi: {
    usage: "openapi",
    summary: "Print the OpenAPI document.",
    run: async () => (await import("./openapi.ts")).printOpenapi(config()),
  },
  "service print": {
    usage: "service print",
    summary: "Print a unit for systemd that starts this binary.",
    run: async () => (await import("./service.ts")).printService(),
  },
  healthcheck: {
    usage: "healthcheck",
    summary: "Ask the server on this machine whether it serves; exit code 0 or 1.",
    run: async () => (await import("./healthcheck.ts")).healthcheck(config()),
  },
  version: {
    usage: "version [--json]",
    summary: "Say which Bunker this is.",
    options: { json },
    run: async ({ flags }) =>
      print(flags["json"] ? JSON.stringify({ version }) : `bunker ${version}`),
  },
};

/** Runs what was typed. Throws an Exit with code 2 and a hint for what is not a command. */
export async function run(argv: string[]): Promise<void> {
  if (argv.some((word) => word === "--help" || word === "-h") || argv[0] === "help")
    return print(help());
  if (argv[0] === "--version") return print(`bunker ${version}`);
  if (argv[0] === WORKER)
    return (await import("./serve/serve.ts")).work(readConfig(process.env).config);
  const words = argv.filter((word) => !word.startsWith("-"));
  const name = [words.slice(0, 2).join(" "), words[0] ?? "serve"].find((one) =>
    Object.hasOwn(commands, one),
  );
  const command = name === undefined ? undefined : commands[name];
  if (name === undefined || !command) throw noSuchCommand(words);
  const typed = parse(argv, command);
  typed.words = typed.words.slice(words.length === 0 ? 0 : name.split(" ").length);
  const [least, most] = command.words ?? [0, 0];
  if (typed.words.length < least || typed.words.length > most)
    throw usage(`Usage: bunker ${command.usage}`);
  await command.run(typed);
}

function parse(argv: string[], { options = {}, usage: form }: Command): Typed {
  try {
    // There are no one-letter options, so "-x" is a word: one key id in 64 begins with a dash.
    const isWord = (word: string) => /^-[^-]/.test(word);
    const { values, positionals } = parseArgs({
      args: argv.includes("--")
        ? argv
        : [...argv.filter((word) => !isWord(word)), "--", ...argv.filter(isWord)],
      options,
      allowPositionals: true,
      strict: true,
    });
    return { words: positionals, flags: values as Typed["flags"] };
  } catch (error) {
    const isPassword = argv.some(
      (word) =>
        word.startsWith("--password") &&
        !["--password-file", "--password-hash"].some(
          (flag) => word === flag || word.startsWith("--password-file="),
        ),
    );
    if (isPassword)
      throw usage(
        "A password is never typed as an argument, where others can read it: leave it out to be asked for it.",
      );
    throw usage(`${(error as Error).message.split(". ")[0]}.\nUsage: bunker ${form}`);
  }
}

function noSuchCommand([group = "", word]: string[]): Exit {
  const near = Object.entries(commands).filter(([name]) => name.startsWith(`${group} `));
  const typed = `There is no command "${word === undefined ? group : `${group} ${word}`}".`;
  return usage([typed, ...near.map(([, { usage: form }]) => `  bunker ${form}`)].join("\n"));
}

const usage = (message: string) =>
  new Exit("usage", `${message}\nbunker --help lists the commands.`);

/** Reads the configuration, and says on standard error what looks like a slip of the pen. */
function config(): Config {
  const { config: found, warnings } = readConfig(process.env);
  for (const warning of warnings) process.stderr.write(`Warning: ${warning}\n`);
  return found;
}

const help = () => {
  const lines = Object.values(commands).map(
    ({ usage: form, summary }) => `  bunker ${form}\n      ${summary}`,
  );
  return [
    `bunker ${version}: accounts and sign-in for your product, in one file.`,
    "",
    ...lines,
    "",
    "Settings come from the environment: see `bunker config`. Exit codes: 0 done; 1 failed; 2 wrong usage;",
    "69 something that is needed is not there; 75 the data directory is in use; 78 wrong configuration.",
  ].join("\n");
};
