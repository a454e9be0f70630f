import { buildRouteMap } from "@stricli/core";
import {
  argument,
  command,
  flag,
  group,
  integer,
  optionalArgument,
  type Parsing,
  routesOf,
  value,
} from "./command.ts";

const json = flag("Print one JSON document");
const user = argument("USER", "The email, username or id of the user");
const passwordFile = value("FILE", "Read the password from this file");

const users = group("Create, find and change users.", {
  create: command(
    {
      brief: "Create a user.",
      details: "Asks for the password, or reads it from a file or from standard input.",
    },
    {
      ...argument("EMAIL", "The email of the user"),
      flags: {
        username: value("NAME", "The username; by default it is made from the email"),
        "full-name": value("NAME", "The full name"),
        superuser: flag("May read and change every user"),
        verified: flag("Take the email as verified"),
        "password-file": passwordFile,
        "password-hash": flag("The password is a hash from another system"),
        json,
      },
    },
    async () => (await import("./users.ts")).create,
  ),
  list: command(
    { brief: "List all users." },
    { flags: { json } },
    async () => (await import("./users.ts")).list,
  ),
  find: command(
    { brief: "Find users by a part of the email, the username or the full name." },
    { ...argument("TEXT", "The part to look for, in any case"), flags: { json } },
    async () => (await import("./users.ts")).find,
  ),
  show: command(
    { brief: "Show a user." },
    { ...user, flags: { json } },
    async () => (await import("./users.ts")).show,
  ),
  promote: command(
    { brief: "Make a user a superuser." },
    { ...user, flags: { json } },
    async () => (await import("./users.ts")).promote,
  ),
  demote: command(
    { brief: "Make a superuser a plain user." },
    { ...user, flags: { json } },
    async () => (await import("./users.ts")).demote,
  ),
  activate: command(
    { brief: "Let a deactivated user sign in again." },
    { ...user, flags: { json } },
    async () => (await import("./users.ts")).activate,
  ),
  deactivate: command(
    { brief: "End the sessions of a user, and refuse new ones." },
    { ...user, flags: { json } },
    async () => (await import("./users.ts")).deactivate,
  ),
  unlock: command(
    { brief: "Clear the failed sign-ins of a user, so that unknown clients can sign in again." },
    { ...user, flags: { json } },
    async () => (await import("./users.ts")).unlock,
  ),
  "set-password": command(
    {
      brief: "Set the password of a user, and end the sessions.",
      details: "Asks for the password, or reads it from a file or from standard input.",
    },
    { ...user, flags: { "password-file": passwordFile, json } },
    async () => (await import("./users.ts")).changePassword,
  ),
  delete: command(
    { brief: "Delete a user with all sessions. This cannot be undone." },
    { ...user, flags: { yes: flag("Delete; without it, only show the user"), json } },
    async () => (await import("./users.ts")).remove,
  ),
});

const clients = group("Create and change confidential OAuth clients.", {
  create: command(
    { brief: "Create an OAuth client. Its secret is shown once." },
    { ...argument("NAME", "A name for people, to tell clients apart"), flags: { json } },
    async () => (await import("./clients.ts")).create,
  ),
  list: command(
    { brief: "List the OAuth clients." },
    { flags: { json } },
    async () => (await import("./clients.ts")).list,
  ),
  rotate: command(
    { brief: "Give an OAuth client another secret. Both are accepted until --finish." },
    {
      ...argument("ID", "The id of the client"),
      flags: { finish: flag("Refuse the older secret from now on"), json },
    },
    async () => (await import("./clients.ts")).rotate,
  ),
  delete: command(
    { brief: "Delete an OAuth client and its secrets." },
    { ...argument("ID", "The id of the client"), flags: { json } },
    async () => (await import("./clients.ts")).remove,
  ),
});

const keys = group("Rotate the key pairs that sign access tokens.", {
  list: command(
    { brief: "List the key pairs." },
    { flags: { json } },
    async () => (await import("./keys.ts")).list,
  ),
  rotate: command(
    { brief: "Sign with the next key from now on. No user is signed out." },
    { flags: { now: flag("Do not wait until the next key was published long enough"), json } },
    async () => (await import("./keys.ts")).rotate,
  ),
  retire: command(
    { brief: "Refuse the tokens that a key has signed: an older key, or one that has leaked." },
    { ...argument("KID", "The id of the key"), flags: { json } },
    async () => (await import("./keys.ts")).retire,
  ),
});

const mail = group("List, retry and test mails.", {
  list: command(
    { brief: "List the latest mails: waiting, sent or failed, and why." },
    { flags: { json } },
    async () => (await import("./mail.ts")).list,
  ),
  retry: command(
    { brief: "Retry a mail that waits or failed; without ID, all of them." },
    { ...optionalArgument("ID", "The id of the mail"), flags: { json } },
    async () => (await import("./mail.ts")).retry,
  ),
  test: command(
    { brief: "Send a mail at once, and show the answer of the mail server." },
    { ...argument("EMAIL", "Where to send it"), flags: { json } },
    async () => (await import("./mail.ts")).test,
  ),
});

const routes = {
  serve: command(
    { brief: "Serve the API. This is what bunker does without a command." },
    {},
    async () => (await import("../server/serve.ts")).serve,
  ),
  migrate: command(
    { brief: "Migrate the database schema; with status, list applied and pending migrations." },
    { ...optionalArgument("status", "Change nothing"), flags: { json } },
    async () => (await import("./migrate.ts")).migrateCommand,
  ),
  users,
  clients,
  keys,
  mail,
  password: group("Choose the cost of password hashes.", {
    calibrate: command(
      { brief: "Measure this machine and propose PASSWORD_HASH." },
      {
        flags: {
          milliseconds: integer("N", {
            min: 1,
            max: 2_000,
            brief: "The longest time for one hash (default = 60)",
          }),
          json,
        },
      },
      async () => (await import("./password.ts")).calibrate,
    ),
  }),
  config: command(
    { brief: "Show the value of every setting and where it comes from. Secrets are masked." },
    { flags: { json } },
    async () => (await import("./config.ts")).showConfig,
  ),
  openapi: command(
    { brief: "Print the OpenAPI document." },
    { flags: { json } },
    async () => (await import("./openapi.ts")).printOpenapi,
  ),
  service: group("Run Bunker under systemd.", {
    print: command(
      { brief: "Print a systemd unit that starts this binary." },
      {},
      async () => (await import("./service.ts")).printService,
    ),
  }),
  healthcheck: command(
    { brief: "Ask the server on this machine whether it serves; exit code 0 or 1." },
    { flags: { json } },
    async () => (await import("./healthcheck.ts")).healthcheck,
  ),
  version: command(
    { brief: "Print the version." },
    { flags: { json } },
    async () => (await import("./version.ts")).printVersion,
  ),
};

/** Every command of the binary. The file of each is loaded only when it runs. */
export const commands = buildRouteMap<string, Parsing>({
  ...routesOf(routes),
  docs: {
    brief: "Accounts and sign-in for your product, in one file",
    fullDescription: [
      "Accounts and sign-in for your product, in one file.",
      "Settings are environment variables: `bunker config` shows them. --env-file FILE, before or",
      "behind any command, adds those of a file. A command uses the database that the settings name.",
      "Only serve and migrate create one.",
      "",
      "Exit codes: 0 done; 1 failed; 2 wrong usage; 66 no data directory; 69 a dependency is not there;",
      "75 the data directory is in use; 78 wrong configuration.",
    ].join("\n"),
  },
});

/** The groups that have a command of this name. */
export const groupsOf = (name: string): string[] =>
  Object.entries(routes).flatMap(([group, route]) =>
    "getRoutingTargetForInput" in route && route.getRoutingTargetForInput(name)
      ? [`${group} ${name}`]
      : [],
  );
