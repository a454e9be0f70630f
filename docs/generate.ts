/**
 * `bun run docs` writes what is documented from the code: `.env.example`, database.md,
 * openapi.json, and blocks of other pages. They describe Bunker
 * without the product. A test compares them with what is committed.
 */
import { join } from "node:path";
import { getTableConfig, type PgTable } from "drizzle-orm/pg-core";
import { describeBunker } from "../src/app.ts";
import { readConfig } from "../src/config/config.ts";
import { type Setting, variablesOf } from "../src/config/setting.ts";
import { settings } from "../src/config/settings.ts";
import type { Ctx } from "../src/ctx.ts";
import { CLIENT_TYPES } from "../src/http/openapi/document.ts";
import { type Log, openLog } from "../src/kit/log.ts";
import {
  byKnownUser,
  isForRedis,
  type LimitName,
  limitDescriptions,
  type Policy,
  policies,
} from "../src/limits/policies.ts";
import { productEvents } from "../src/product/event-types.ts";
import { productProblems } from "../src/product/problem-codes.ts";
import { productSettings } from "../src/product/settings.ts";
import { tables } from "../src/tables.ts";
import { replaceBlock } from "./blocks.ts";
import { growthLines } from "./growth.ts";
import { commandsTable, errorsTable, eventsTable, fieldsTable } from "./lists.ts";
import { alertsTable, metricsTable } from "./metrics.ts";

const base = {
  isProduction: true,
  port: 3000,
  publicUrl: "http://localhost:3000",
  brandName: "Bunker",
};
const bunkerSettings = (Object.entries(settings) as [string, Setting<unknown>][])
  .filter(([key]) => !(key in productSettings))
  .map(([, it]) => it);
const listed = bunkerSettings.map((it) => ({
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

const settingsTable = () => [
  "| name | meaning | default |",
  "|---|---|---|",
  ...listed.map(
    ({ name, doc, byDefault, mayBeInFile }) =>
      `| \`${name}\`${mayBeInFile ? " *" : ""} | ${doc} | ${byDefault} |`,
  ),
];

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

const limitsTable = () => [
  "| name | what counts | allowed | with Redis, counted in |",
  "|---|---|---|---|",
  ...Object.entries(policies).map(
    ([name, policy]) =>
      `| \`${name}\` | ${limitDescriptions[name as LimitName]} | ${allowed(policy)} | ${isForRedis(policy) ? "Redis" : "PostgreSQL"} |`,
  ),
];

const byDevice = "by device, for a user that knows it; otherwise as an unknown client";
const byUser = "by user, for all known devices together; when that is used up, by IP";
const knownClientsTable = () => [
  "| limit | how a known client counts | why this is safe |",
  "|---|---|---|",
  `| \`login\`, \`login-account\`, \`login-streak\`, \`login-address\` | ${byDevice} | a device token does not help to guess another user's password |`,
  `| \`email-code\` | ${byDevice}, with \`login-address\` | the same |`,
  ...[...byKnownUser].map(
    (name) => `| \`${name}\` | ${byUser} | ${knownUserReasons[name] ?? ""} |`,
  ),
  "| `register` | by IP | by user, each new user could register twenty more |",
];

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

/**
 * Without what the product adds: an upgrade must not meet changes of the product here. Without the
 * hash of the client's types, which is known only after a build and does not help a reader.
 */
async function openapi(): Promise<string> {
  const log: Log = openLog({ level: "error", format: "json" });
  const document = await describeBunker({ config: readConfig({}).config, log } as Ctx);
  const added = { ...productEvents, ...productProblems };
  const ours = (key: string, value: unknown) => {
    if (key === CLIENT_TYPES || key in productEvents) return undefined;
    return key === "enum" && Array.isArray(value) ? value.filter((it) => !(it in added)) : value;
  };
  return `${JSON.stringify(document, ours, 2)}\n`;
}

const root = join(import.meta.dir, "..");

/** A page with its blocks replaced. */
async function pageWith(path: string, blocks: Record<string, string[]>): Promise<string> {
  const page = await Bun.file(join(root, path)).text();
  return Object.entries(blocks).reduce(
    (text, [name, lines]) => replaceBlock(text, name, lines),
    page,
  );
}

/** The text of each file, by its path from the root of the repository. */
export const documents = async (): Promise<Record<string, string>> => ({
  ".env.example": envExample(),
  "docs/configuration.md": await pageWith("docs/configuration.md", { settings: settingsTable() }),
  "docs/limits.md": await pageWith("docs/limits.md", {
    limits: limitsTable(),
    "known clients": knownClientsTable(),
    growth: growthLines(),
  }),
  "docs/metrics.md": await pageWith("docs/metrics.md", {
    metrics: metricsTable(),
    alerts: alertsTable(),
  }),
  "docs/commands.md": await pageWith("docs/commands.md", { commands: commandsTable() }),
  "docs/errors.md": await pageWith("docs/errors.md", {
    errors: errorsTable(),
    fields: fieldsTable(),
  }),
  "docs/events.md": await pageWith("docs/events.md", { events: eventsTable() }),
  "docs/database.md": database(),
  "docs/openapi.json": await openapi(),
});

if (import.meta.main)
  for (const [path, text] of Object.entries(await documents()))
    await Bun.write(join(root, path), text);
