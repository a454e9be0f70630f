/**
 * Prints what is documented from the code: `.env.example`, configuration.md, limits.md, database.md and openapi.json. `bun run docs`
 * writes them; a test compares them with what is committed.
 */
import { join } from "node:path";
import { getTableConfig, type PgTable } from "drizzle-orm/pg-core";
import { openapiText } from "../src/cli/openapi.ts";
import { readConfig } from "../src/config/config.ts";
import { type Setting, variablesOf } from "../src/config/setting.ts";
import { settings } from "../src/config/settings.ts";
import { CLIENT_TYPES } from "../src/http/openapi/document.ts";
import {
  byKnownUser,
  type LimitName,
  meanings,
  type Policy,
  policies,
} from "../src/limits/policies.ts";
import { tables } from "../src/tables.ts";
import { growthLines } from "./growth.ts";

const base = {
  isProduction: true,
  port: 3000,
  publicUrl: "http://localhost:3000",
  brandName: "Bunker",
};
const listed = (Object.values(settings) as Setting<unknown>[]).map((it) => ({
  name: it.name,
  doc: it.doc,
  byDefault: it.shown ?? String(it.fallback(base)),
  mayBeInFile: variablesOf(it).length > 1,
}));

const envExample = () =>
  [
    "# Every setting of Bunker, with its default. Printed from src/config/ by `bun run docs`.",
    "# Each secret, and LOG_LEVEL, can also be in a file: DATABASE_URL_FILE=/run/secrets/database_url",
    "# docker-compose.yml also needs POSTGRES_PASSWORD in this file. See the top of that file.",
    ...listed.flatMap(({ name, doc, byDefault }) => [
      "",
      `# ${doc}`,
      `# Default: ${byDefault}`,
      `#${name}=`,
    ]),
    "",
  ].join("\n");

const configuration = () =>
  [
    "# Configuration",
    "",
    "Every setting is an environment variable. An empty variable counts as unset.",
    "`bunker config` shows each value and its source.",
    "",
    "If settings are not valid, Bunker does not start and exits with code 78. One message lists all",
    "errors and contains no values.",
    "",
    "A setting marked with * can also be in a file: set `<NAME>_FILE` to its path. These are the secrets",
    "and the settings that a reload (SIGHUP) can change. Blanks at the start and end of a value are",
    "removed. Around a password they are an error. Files are UTF-8, with or without a byte order mark.",
    "",
    "`bunker --env-file FILE …` adds the settings of a file",
    "([commands](commands.md#settings-from-a-file)).",
    "",
    "This page is printed from `src/config/` by `bun run docs`.",
    "",
    "| name | meaning | default |",
    "|---|---|---|",
    ...listed.map(
      ({ name, doc, byDefault, mayBeInFile }) =>
        `| \`${name}\`${mayBeInFile ? " *" : ""} | ${doc} | ${byDefault} |`,
    ),
    "",
  ].join("\n");

const allowed = ({ quota, refill, periodSeconds }: Policy) =>
  quota === refill
    ? `${quota} in ${timeOf(periodSeconds)}`
    : `${quota} at once, then ${refill} in ${timeOf(periodSeconds)}`;
const timeOf = (seconds: number) => {
  const [unit, name] = (
    [
      [86_400, "day"],
      [3600, "hour"],
      [60, "minute"],
    ] as const
  ).find(([length]) => seconds % length === 0) ?? [1, "second"];
  return seconds === unit ? `a ${name}`.replace("a h", "an h") : `${seconds / unit} ${name}s`;
};

const knownUserReasons: Partial<Record<LimitName, string>> = {
  "mail-address":
    "`mail-account` still limits the emails to one recipient, and the email changes of one user",
  "requests-anonymous":
    "this limit protects the database; a signed-in user also has a limit of their own (`requests`), and tokens and links cannot be guessed",
};

const limits = () =>
  [
    "# Limits",
    "",
    "Rate limits are counted for all instances together. The instances need the same `SECRET_KEY`: with",
    "another key, all counts start again. `LIMITS` replaces the defaults:",
    "`LIMITS=register=50/3600, login=10+5/60` allows 50 registrations an hour, and 10 sign-in attempts at",
    "once, then 5 a minute. Periods are in seconds. This page is printed from `src/limits/policies.ts` by",
    "`bun run docs`.",
    "",
    '"10 at once, then 5 in a minute" allows a burst of 10. The limit is full again two minutes later',
    "(10 / 5 minutes), so `RateLimit-Policy` says `q=10;w=120`. `RateLimit` says when the next 5 come back:",
    "`t` is at most 60.",
    "",
    "| name | what counts | allowed |",
    "|---|---|---|",
    ...Object.entries(policies).map(
      ([name, policy]) =>
        `| \`${name}\` | ${meanings[name as keyof typeof policies]} | ${allowed(policy)} |`,
    ),
    "",
    "An IP is an IPv4 address or the /64 of an IPv6 address. Behind a proxy, the client IP comes from the",
    "header that `TRUSTED_PROXIES` and `CLIENT_ADDRESS_HEADER` define. A window starts with the first",
    "request that counts.",
    "",
    "## Headers",
    "",
    "Each response reports the limits that the request consumed, in order",
    "(draft-ietf-httpapi-ratelimit-headers):",
    "",
    "```",
    'RateLimit-Policy: "register";q=20;w=3600',
    'RateLimit: "register";r=19;t=3600',
    "```",
    "",
    "Here 19 requests remain, and the next refill is in 3600 seconds. Beyond a limit, the response is 429",
    "`too_many_requests` with `Retry-After`. Such a request consumes none of the limits that are counted",
    "together with the exceeded one. An attempt that the service could not judge because it was busy is",
    "refunded.",
    "",
    "Only a 429 reports `login-account`, `login-streak`, `mail-account` and `email-code`. Any other",
    "response would reveal what other clients do with the same name or email.",
    "",
    "Names that no user has count in the same way, for the same time. A user has two names, an email and",
    "a username, and each counts by itself. So `login-account` allows 30 failures a user, and",
    "`login-streak` 100.",
    "",
    "The table of limits keeps at most 1,000,000 rows (about 150 MB). Beyond that, a job deletes the rows",
    "with the lowest counts, and of these the ones that end first.",
    "",
    "## Known clients",
    "",
    "A successful sign-in returns a device token, in the header `Device-Token` and in an HttpOnly cookie.",
    "The cookie is `__Host-bunker_device` if `PUBLIC_URL` is https, otherwise `bunker_device`. The latter",
    "is read in both cases. The cookie holds the tokens of the eight users who signed in last with that",
    "browser. A client that sends a user's device token is a known client of that user. Browsers on the",
    "same site send the cookie. An app stores the header and sends it as `Device-Token`.",
    "",
    "A device token grants no access. A new password ends the tokens of all other devices. Bunker tries",
    "all device tokens of a request, up to 128. So an outdated token, or a cookie that another host of the",
    "same site adds, does no harm.",
    "",
    "Users behind one IP (NAT) share the limits that count by IP. A known client is not refused because",
    "another client used them up:",
    "",
    "| limit | how a known client counts | why this is safe |",
    "|---|---|---|",
    "| `login`, `login-account`, `login-streak`, `login-address` | by device, for a user that knows it; otherwise as an unknown client | a device token does not help to guess another user's password |",
    "| `email-code` | by device, for a user that knows it; otherwise as an unknown client, with `login-address` | the same |",
    ...[...byKnownUser].map(
      (name) =>
        `| \`${name}\` | by user, for all known devices together; when that is used up, by IP | ${knownUserReasons[name] ?? ""} |`,
    ),
    "| `register` | by IP | by user, each new user could register twenty more |",
    "",
    "An attacker gets these limits once more for each user they have, and `register` limits how fast an",
    "IP creates users.",
    "",
    "## Made-up tokens",
    "",
    "Made-up tokens do not block other clients of the same IP. A signature or MAC proves that Bunker",
    "issued an access or refresh token, before any database query. A proven token counts by its session,",
    "even if it is expired or spent. Only other tokens count by IP. A refresh token is one of these if its",
    "session started under a `SECRET_KEY` that `SECRET_KEYS` no longer lists.",
    "",
    "## Unlock a user",
    "",
    "When `login-streak` is reached, unknown clients cannot sign in with that name. Any of these unlocks",
    "the user:",
    "",
    "- a sign-in by a known client",
    "- a new password (`POST /api/v1/auth/password/forgot` mails the link)",
    "- the operator: `bunker users unlock NAME`",
    "- a superuser: `POST /api/v1/users/{id}/unlock`",
    "",
    "Without `MAIL_URL` Bunker cannot send the link for a new password, so only the others work.",
    "",
    "## OAuth clients",
    "",
    "An OAuth client that authenticates with its secret has no limit. These requests consume",
    "`requests-anonymous`:",
    "",
    "- requests with a wrong client secret",
    "- revocations of tokens that Bunker did not issue",
    "- anonymous requests with an `Idempotency-Key`",
    "",
    "## Accuracy",
    "",
    "`requests` and `requests-anonymous` are counted in batches of a twentieth of the quota, so that a",
    "request needs no statement. Each further instance may allow a twentieth more. All other limits are",
    "exact.",
    "",
    ...growthLines(),
  ].join("\n");

function diagramOf(table: PgTable): string[] {
  const { name, columns } = getTableConfig(table);
  const rows = columns.map((column) => {
    const key = column.primary ? " PK" : "";
    const note = column.notNull ? "" : ' "may be null"';
    return `    ${column
      .getSQLType()
      .replaceAll(/[ ()]+/g, "_")
      .replace(/_$/, "")} ${column.name}${key}${note}`;
  });
  const links = getTableConfig(table).foreignKeys.map(
    (key) =>
      `  ${getTableConfig(key.reference().foreignTable).name} ||--o{ ${name} : "${key.getName()}"`,
  );
  return [`  ${name} {`, ...rows, "  }", ...links];
}

function indexesOf(table: PgTable): string[] {
  const { name, indexes, uniqueConstraints, checks } = getTableConfig(table);
  return [
    ...uniqueConstraints.map(
      (one) =>
        `| ${name} | unique | \`${one.name}\` | ${one.columns.map((column) => column.name).join(", ")} |`,
    ),
    ...indexes.map(({ config }) => {
      const columns = config.columns.map((column) =>
        "name" in column ? column.name : "expression",
      );
      return `| ${name} | index${config.where ? ", partial" : ""} | \`${config.name}\` | ${columns.join(", ")} |`;
    }),
    ...checks.map((one) => `| ${name} | check | \`${one.name}\` | |`),
  ];
}

const database = () =>
  [
    "# Database",
    "",
    "Keys are UUIDv7. Times are UTC with milliseconds. This page is printed from",
    "`src/modules/*/tables.ts` by `bun run docs`.",
    "",
    "```mermaid",
    "erDiagram",
    ...tables.flatMap(diagramOf),
    "```",
    "",
    "| table | kind | name | columns |",
    "|---|---|---|---|",
    ...tables.flatMap(indexesOf),
    "",
  ].join("\n");

/** Without the hash of the client's types: it is known only after a build, and says nothing to a reader. */
async function openapi(): Promise<string> {
  const document = JSON.parse(await openapiText(readConfig({}).config));
  return `${JSON.stringify({ ...document, [CLIENT_TYPES]: undefined }, null, 2)}\n`;
}

/** Path from the repository's root, and what belongs there. */
export const documents = async (): Promise<Record<string, string>> => ({
  ".env.example": envExample(),
  "docs/configuration.md": configuration(),
  "docs/limits.md": limits(),
  "docs/database.md": database(),
  "docs/openapi.json": await openapi(),
});

if (import.meta.main)
  for (const [path, text] of Object.entries(await documents()))
    await Bun.write(join(import.meta.dir, "..", path), text);
