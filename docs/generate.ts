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
    "# Every setting of Bunker, with its default. Printed from src/config/settings.ts by `bun run docs`.",
    "# Each secret, and LOG_LEVEL, may also be read from a file: DATABASE_URL_FILE=/run/secrets/database_url",
    "# docker-compose.yml also wants POSTGRES_PASSWORD here: see its head.",
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
    "Every setting is an environment variable. Empty counts as unset. `bunker config` shows each value and where it came",
    "from. What is wrong stops the start with exit code 78, all of it in one message that prints no value.",
    "A setting marked with * may also be in a file that `<NAME>_FILE` names: each secret, and what SIGHUP",
    "can change while the server runs. Blanks at the ends are removed; around a password they are refused.",
    "Text files are UTF-8, with or without a byte order mark. `bunker --env-file FILE …` adds the settings",
    "of a file ([commands](commands.md#settings-from-a-file)).",
    "Printed from `src/config/settings.ts` by `bun run docs`.",
    "",
    "| name | what it means | default |",
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
    "`mail-account` still limits the emails to one address, and the changes of email of one user",
  "requests-anonymous":
    "it protects the database: a signed-in user has a limit of their own as well (`requests`); tokens and links cannot be guessed",
};

const limits = () =>
  [
    "# Limits",
    "",
    "How often somebody may try, counted for all instances together (that have the same `SECRET_KEY`: with another one counts begin anew). `LIMITS` sets others: `LIMITS=register=50/3600, login=10+5/60`",
    "(50 in an hour; 10 at once, then 5 each minute, in seconds). Printed from `src/limits/policies.ts` by `bun run docs`.",
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
    "An address is an IPv4 address, or the /64 of an IPv6 address; behind a proxy it is what `TRUSTED_PROXIES` and `CLIENT_ADDRESS_HEADER` let us believe. A",
    "window begins with the first request that counts.",
    "",
    'Each answer says which limits it met, one after the other (draft-ietf-httpapi-ratelimit-headers): `RateLimit-Policy: "register";q=20;w=3600`,',
    '`RateLimit: "register";r=19;t=3600`: 19 are left, and there are more in 3600 seconds. A refusal is 429 `too_many_requests`',
    "with `Retry-After`, and costs nothing of the limits that are asked together with it; nor does a try that could not be judged,",
    "because the service was busy. What is left of `login-account`, `login-streak`, `mail-account` and `email-code` is told only by a refusal:",
    "it would tell what other clients do with the same name or email.",
    "",
    "Names that no user has count alike, for the same time. A user has two names, an email and a username, and each is counted by itself:",
    "per user, `login-account` allows 30 failures and `login-streak` 100. The table keeps at most 1,000,000 rows (about 150 MB). Beyond",
    "that, a job removes those that count least, and of these the ones that end first.",
    "",
    "## Known clients",
    "",
    "A successful sign-in returns a device token: in the header `Device-Token`, and in a cookie (HttpOnly). The cookie is",
    "`__Host-bunker_device` if `PUBLIC_URL` is https, otherwise `bunker_device`; the latter is read in both cases. It holds the tokens of",
    "the eight users who signed in last with that browser. A client that sends a token back, either way, is known to that user. Browsers",
    "on the same site send the cookie; an app stores the header and sends it as `Device-Token`.",
    "",
    "A device token grants no access. A new password ends the tokens of all other devices. All tokens of a request are tried, up to 128:",
    "a stale one, or a cookie that another host of the same site adds, does no harm.",
    "",
    "People behind one IP (NAT) share the limits that count by IP. A known client is not refused because another client used them up:",
    "",
    "| limit | how a known client counts | why this is safe |",
    "|---|---|---|",
    "| `login`, `login-account`, `login-streak`, `login-address` | by device, for a user that knows it; otherwise as unknown | a device token helps with no other user's password |",
    "| `email-code` | by device, for a user that knows it; otherwise as unknown, with `login-address` | the same |",
    ...[...byKnownUser].map(
      (name) =>
        `| \`${name}\` | by user, however many devices; then by IP | ${knownUserReasons[name] ?? ""} |`,
    ),
    "| `register` | by IP | if it counted by user, each new user could register twenty more |",
    "",
    "An attacker gets one more bucket of these limits per user, and `register` limits how fast an IP creates users.",
    "",
    "**Made-up tokens keep out no client that shares the IP.** An access or refresh token that we issued proves it by a MAC, before",
    "any look into the database, and counts by its session, also when it is expired or spent. Only other tokens count by IP; a",
    "refresh token is among those if its session began under a `SECRET_KEY` that `SECRET_KEYS` no longer lists.",
    "",
    "**Unlock a user.** When `login-streak` is reached, unknown clients cannot sign in by that name. Any of these ends it: a sign-in by a known",
    "client, a new password (`POST /auth/password/forgot` mails the link), the operator's `bunker users unlock NAME`, or a superuser's",
    "`POST /api/v1/users/{id}/unlock`. Without `MAIL_URL` no reset mail can be sent, so only the others work.",
    "",
    "An OAuth client that proves itself by its secret asks as often as it likes; wrong secrets count as `requests-anonymous`, and so",
    "do revocations of tokens that we did not issue, and requests with an `Idempotency-Key`, of whoever is not signed in.",
    "",
    "`requests` and `requests-anonymous` are counted in lumps of a twentieth, so that a request costs no statement: each further",
    "instance may allow a twentieth more. The others are exact.",
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
    "Printed from `src/modules/*/tables.ts` by `bun run docs`. Keys are UUIDv7; times are UTC with milliseconds.",
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
