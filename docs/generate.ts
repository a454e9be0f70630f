/**
 * Prints what is documented from the code: `.env.example`, configuration.md, database.md and openapi.json. `bun run docs`
 * writes them; a test compares them with what is committed.
 */
import { join } from "node:path";
import { getTableConfig, type PgTable } from "drizzle-orm/pg-core";
import { openapiText } from "../src/cli/openapi.ts";
import { readConfig, settings } from "../src/config.ts";
import * as schema from "../src/db/schema.ts";

const base = { isProduction: true, port: 3000 };
const listed = Object.values(settings).map(({ name, doc, shown, isSecret, fallback }) => ({
  name,
  doc,
  byDefault: shown ?? String(fallback(base)),
  isSecret: isSecret === true,
}));

const envExample = () =>
  [
    "# Every setting of Bunker, with its default. Printed from src/config.ts by `bun run docs`.",
    "# Each secret may also be read from a file: DATABASE_URL_FILE=/run/secrets/database_url",
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
    "A setting marked with * is a secret: it may also stand in a file, named by `<NAME>_FILE`.",
    "Printed from `src/config.ts` by `bun run docs`.",
    "",
    "| name | what it means | default |",
    "|---|---|---|",
    ...listed.map(
      ({ name, doc, byDefault, isSecret }) =>
        `| \`${name}\`${isSecret ? " *" : ""} | ${doc} | ${byDefault} |`,
    ),
    "",
  ].join("\n");

const tables: PgTable[] = Object.values(schema);

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
    "Printed from `src/db/schema.ts` by `bun run docs`. Keys are UUIDv7; times are UTC with milliseconds.",
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

/** Path from the repository's root, and what belongs there. */
export const documents = async (): Promise<Record<string, string>> => ({
  ".env.example": envExample(),
  "docs/configuration.md": configuration(),
  "docs/database.md": database(),
  "docs/openapi.json": `${await openapiText(readConfig({}).config)}\n`,
});

if (import.meta.main)
  for (const [path, text] of Object.entries(await documents()))
    await Bun.write(join(import.meta.dir, "..", path), text);
