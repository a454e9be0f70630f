import { buildRouteMap } from "@stricli/core";
import {
  argument,
  command,
  flag,
  group,
  integer,
  json,
  optionalArgument,
  type Parsing,
  routesOf,
  value,
} from "./command.ts";
import { webhooks } from "./webhook-commands.ts";

const usersFile = () => import("./users.ts");
const clientsFile = () => import("./clients.ts");
const keysFile = () => import("./keys.ts");
const mailFile = () => import("./mail.ts");
const eventsFile = () => import("./events.ts");

const user = argument("USER", "The email, username or ID of the user");
const ofUser = { ...user, flags: { json } };
const ASKS_FOR_PASSWORD =
  "Prompts for the password, or reads it from a file or from standard input.";
const passwordFile = value("FILE", "Read the password from this file");

const users = group("Create, find and change users.", {
  create: command(
    "Create a user.",
    {
      details: ASKS_FOR_PASSWORD,
      ...argument("EMAIL", "The email of the user"),
      flags: {
        username: value("NAME", "The username; the default is made from the email"),
        "full-name": value("NAME", "The full name"),
        superuser: flag("Make the user a superuser"),
        verified: flag("Mark the email as verified"),
        "password-file": passwordFile,
        "password-hash": flag("The password is a hash from another system"),
        json,
      },
    },
    async () => (await usersFile()).create,
  ),
  list: command("List all users.", { flags: { json } }, async () => (await usersFile()).list),
  find: command(
    "Find users by a part of the email, the username or the full name.",
    { ...argument("TEXT", "The text to find; case is ignored"), flags: { json } },
    async () => (await usersFile()).find,
  ),
  show: command("Show a user.", ofUser, async () => (await usersFile()).show),
  promote: command("Make a user a superuser.", ofUser, async () => (await usersFile()).promote),
  demote: command(
    "Make a superuser an ordinary user.",
    ofUser,
    async () => (await usersFile()).demote,
  ),
  activate: command(
    "Reactivate a deactivated user.",
    ofUser,
    async () => (await usersFile()).activate,
  ),
  deactivate: command(
    "Deactivate a user: end all sessions and refuse sign-ins.",
    ofUser,
    async () => (await usersFile()).deactivate,
  ),
  unlock: command(
    "Clear the failed sign-ins of a user, so that unknown clients can sign in again.",
    ofUser,
    async () => (await usersFile()).unlock,
  ),
  "set-password": command(
    "Set the password of a user and end all sessions.",
    { details: ASKS_FOR_PASSWORD, ...user, flags: { "password-file": passwordFile, json } },
    async () => (await usersFile()).changePassword,
  ),
  delete: command(
    "Delete a user permanently, with all sessions.",
    { ...user, flags: { yes: flag("Confirm; without it, the user is only shown"), json } },
    async () => (await usersFile()).remove,
  ),
});

const clients = group("Create and change confidential OAuth clients.", {
  create: command(
    "Create an OAuth client. Its secret is shown once.",
    { ...argument("NAME", "A display name"), flags: { json } },
    async () => (await clientsFile()).create,
  ),
  list: command(
    "List the OAuth clients.",
    { flags: { json } },
    async () => (await clientsFile()).list,
  ),
  rotate: command(
    "Create a new secret for an OAuth client. The old one works until --finish.",
    {
      ...argument("ID", "The ID of the client"),
      flags: { finish: flag("Stop accepting the old secret"), json },
    },
    async () => (await clientsFile()).rotate,
  ),
  delete: command(
    "Delete an OAuth client and its secrets.",
    { ...argument("ID", "The ID of the client"), flags: { json } },
    async () => (await clientsFile()).remove,
  ),
});

const keys = group("Rotate the key pairs that sign access tokens.", {
  list: command("List the key pairs.", { flags: { json } }, async () => (await keysFile()).list),
  rotate: command(
    "Sign with the next key from now on. No user is signed out.",
    { flags: { now: flag("Rotate even if the next key was published just now"), json } },
    async () => (await keysFile()).rotate,
  ),
  retire: command(
    "Retire a key that is old or has leaked: its tokens are refused.",
    { ...argument("KID", "The ID of the key"), flags: { json } },
    async () => (await keysFile()).retire,
  ),
});

const mail = group("List, retry and test mails.", {
  list: command(
    "List the latest mails: waiting, sent or dead, and why.",
    { flags: { json } },
    async () => (await mailFile()).list,
  ),
  retry: command(
    "Retry a mail that is waiting or dead; without ID, all of them.",
    { ...optionalArgument("ID", "The ID of the mail"), flags: { json } },
    async () => (await mailFile()).retry,
  ),
  test: command(
    "Send a test mail now and show the reply of the mail server.",
    { ...argument("EMAIL", "The recipient"), flags: { json } },
    async () => (await mailFile()).test,
  ),
});

const after = value("CURSOR", "Only events after this cursor: the `sequence` of an event");
const since = value("TIME", "Only events of this time or later, such as 2026-01-31T00:00:00Z");
const types = value("TYPES", "Only events of these types, separated by commas");

const events = group("Read events, and see what the message queue and webhooks do not have yet.", {
  list: command(
    "List events, oldest first.",
    {
      flags: {
        after,
        since,
        type: types,
        limit: integer("N", { min: 1, max: 1_000_000, brief: "At most this many events" }),
        json,
      },
    },
    async () => (await eventsFile()).list,
  ),
  tail: command(
    "Print events as they are recorded, until Ctrl-C.",
    { flags: { after, type: types, json: flag("Print one JSON document for each event") } },
    async () => (await eventsFile()).tail,
  ),
  lag: command(
    "Show how many events the message queue and each webhook do not have yet.",
    { flags: { json } },
    async () => (await eventsFile()).lag,
  ),
  replay: command(
    "Publish events to the message queue again: all after a cursor, or since a time.",
    {
      flags: {
        after,
        since,
        json,
      },
    },
    async () => (await eventsFile()).replay,
  ),
});

const routes = {
  serve: command(
    "Serve the API. This is what bunker does without a command.",
    {},
    async () => (await import("../server/serve.ts")).serve,
  ),
  migrate: command(
    "Migrate the database schema; with status, list applied and pending migrations.",
    { ...optionalArgument("status", "Change nothing"), flags: { json } },
    async () => (await import("./migrate.ts")).migrateCommand,
  ),
  users,
  clients,
  keys,
  mail,
  webhooks,
  events,
  password: group("Choose the cost of password hashes.", {
    calibrate: command(
      "Measure this machine and propose PASSWORD_HASH.",
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
    "Show the value of every setting and where it comes from. Secrets are masked.",
    { flags: { json } },
    async () => (await import("./config.ts")).showConfig,
  ),
  openapi: command(
    "Print the OpenAPI document.",
    { flags: { json } },
    async () => (await import("./openapi.ts")).printOpenapi,
  ),
  service: group("Run Bunker under systemd.", {
    print: command(
      "Print a systemd unit that starts this binary.",
      {},
      async () => (await import("./service.ts")).printService,
    ),
  }),
  healthcheck: command(
    "Check whether the server on this machine accepts requests: exit code 0 or 1.",
    { flags: { json } },
    async () => (await import("./healthcheck.ts")).healthcheck,
  ),
  version: command(
    "Print the version.",
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
      "Settings are environment variables; `bunker config` shows them. --env-file FILE, before or",
      "after any command, adds the settings of a file. A command uses the database in these settings.",
      "Only serve and migrate create one.",
      "",
      "Exit codes: 0 success; 1 failure; 2 wrong usage; 66 no data directory; 69 dependency unavailable;",
      "75 data directory in use; 78 invalid configuration.",
    ].join("\n"),
  },
});

export const groupsOf = (name: string): string[] =>
  Object.entries(routes).flatMap(([group, route]) =>
    "getRoutingTargetForInput" in route && route.getRoutingTargetForInput(name)
      ? [`${group} ${name}`]
      : [],
  );
