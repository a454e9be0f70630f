import { getTableName } from "drizzle-orm";
import { Exit, misconfigured } from "../kit/exit.ts";
import { allTables } from "../tables.ts";
import type { Sql } from "./db.ts";
import { checkedBehindPoolers, sessionSettings } from "./session.ts";

const SERVER_VERSION_MIN = 150_000;

/** What the database reports. Names of the role and database are quoted for SQL. */
interface Facts {
  version: number;
  versionText: string;
  encoding: string;
  isStandby: boolean;
  hasSchema: boolean;
  canUse: boolean;
  canCreate: boolean;
  isMigrated: boolean;
  /** Tables with the name of one of ours. */
  tables: string[];
  /** Tables whose rows row-level security hides. */
  hidden: string[];
  /** Tables that the role may not read and change. */
  forbidden: string[];
  role: string;
  database: string;
  settings: Record<string, string | null>;
}

/** Checks in one round trip what would fail later. Throws an Exit that says how to fix it. */
export async function checkDatabase(sql: Sql, { isPooled }: { isPooled: boolean }) {
  const facts = await readFacts(sql);
  refuseServer(facts);
  refuseSchema(facts);
  refuseTables(facts);
  refuseSettings(facts, isPooled);
  return {
    warnings: warningsOf(facts),
    isMigrated: facts.isMigrated,
    checkMigration: () => checkMigration(facts),
  };
}

const tableNames = allTables.map((table) => getTableName(table));

const timeouts = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"];
/** Less than a second, which may be too short for a statement that waits for a lock. */
const TOO_SHORT = /^\d{1,3}ms$/;

const SETTINGS = [
  "session_replication_role",
  "transaction_timeout",
  "synchronous_commit",
  "fsync",
  "full_page_writes",
  ...timeouts,
  ...checkedBehindPoolers,
];

/** Uses the simple protocol: one round trip. Has no parameters: all names are ours. */
async function readFacts(sql: Sql): Promise<Facts> {
  const list = (names: string[]) => names.map((name) => `'${name}'`).join(", ");
  const named = (condition: string) =>
    `array(select c.relname::text from pg_class c where c.relnamespace = to_regnamespace('public')
       and c.relname in (${list(tableNames)}) and ${condition} order by 1)`;
  const may = ["select", "insert", "update", "delete"].map(
    (right) => `has_table_privilege(c.oid, '${right}')`,
  );
  const [row] = await sql
    .unsafe(
      `select json_build_object(
        'version', current_setting('server_version_num')::int,
        'versionText', current_setting('server_version'),
        'encoding', current_setting('server_encoding'),
        'isStandby', pg_is_in_recovery(),
        'hasSchema', to_regnamespace('public') is not null,
        'canUse', coalesce(has_schema_privilege(to_regnamespace('public'), 'usage'), false),
        'canCreate', coalesce(has_schema_privilege(to_regnamespace('public'), 'create'), false),
        'isMigrated', exists(select from pg_class c where c.relnamespace = to_regnamespace('public')
          and c.relname = 'bunker_migrations'),
        'tables', ${named("true")},
        'hidden', ${named("c.relrowsecurity and row_security_active(c.oid)")},
        'forbidden', ${named(`not (${may.join(" and ")})`)},
        'role', quote_ident(current_user),
        'database', quote_ident(current_database()),
        'settings', (select json_object_agg(name, case name
            -- The default ("$user", public) is fine while the role has no schema of its own.
            when 'search_path' then array_to_string(current_schemas(false), ', ')
            else current_setting(name, true) end)
          from unnest(array[${list(SETTINGS)}]) as name)) as facts`,
    )
    .simple();
  return row?.["facts"];
}

function refuseServer({ version, versionText, encoding, database, isStandby }: Facts): void {
  if (version < SERVER_VERSION_MIN)
    throw new Exit(
      "unavailable",
      `The database server is PostgreSQL ${versionText}; Bunker needs 15 or newer.`,
    );
  if (encoding !== "UTF8")
    throw misconfigured(
      `The database ${database} has the encoding ${encoding}; Bunker needs UTF8. Create another one and use it in DATABASE_URL: ` +
        "create database bunker encoding 'UTF8' template template0;",
    );
  if (isStandby)
    throw new Exit(
      "unavailable",
      "The database is read-only: it is a standby. DATABASE_URL must lead to the primary server.",
    );
}

function refuseSchema({ hasSchema, canUse, role, isMigrated, tables: present }: Facts): void {
  if (!hasSchema)
    throw misconfigured(
      `The database has no schema "public", where Bunker keeps its tables. Run: create schema public authorization ${role};`,
    );
  if (!canUse)
    throw misconfigured(
      `The role ${role} may not use the schema "public". Run as its owner: grant usage, create on schema public to ${role};`,
    );
  if (!isMigrated && present.length > 0)
    throw misconfigured(
      `The schema "public" already has ${present.length === 1 ? "a table" : "tables"} that Bunker did not create: ${present.join(", ")}. Nothing was changed. Use a separate database for Bunker in DATABASE_URL.`,
    );
}

/** Throws an Exit if the role may not create tables. */
function checkMigration({ canCreate, role }: Facts): void {
  if (!canCreate)
    throw misconfigured(
      `The role ${role} may not create tables in the schema "public". Run as its owner: grant create on schema public to ${role};`,
    );
}

function refuseTables({ hidden, forbidden, role }: Facts): void {
  const onAll = (verb: string) => hidden.map((name) => `alter table public.${name} ${verb};`);
  if (hidden.length > 0)
    throw misconfigured(
      `Row-level security hides rows of ${hidden.join(", ")} from the role ${role}. Run as their owner: ${onAll("disable row level security").join(" ")}`,
    );
  if (forbidden.length > 0)
    throw misconfigured(
      `The role ${role} may not read and change ${forbidden.join(", ")}. Use the role that owns them in DATABASE_URL, or run as their owner: ` +
        `grant select, insert, update, delete on all tables in schema public to ${role};`,
    );
}

/** Refuses settings that change the behavior of Bunker and that it cannot set for its sessions. */
function refuseSettings({ settings, role, database }: Facts, isPooled: boolean): void {
  const needed = {
    session_replication_role: "origin",
    transaction_timeout: "0",
    ...(isPooled
      ? Object.fromEntries(checkedBehindPoolers.map((name) => [name, sessionSettings[name]]))
      : {}),
  };
  const short = isPooled ? timeouts.filter((name) => TOO_SHORT.test(settings[name] ?? "")) : [];
  const others = [
    ...Object.entries(needed).filter(([name, value]) => (settings[name] ?? value) !== value),
    ...short.map((name) => [name, "0"]),
  ];
  if (others.length === 0) return;
  const commands = others.map(
    ([name, value]) =>
      `alter role ${role} in database ${database} set ${name} = ${name === "search_path" ? value : `'${value}'`};`,
  );
  throw misconfigured(
    `The database or role sets ${others.map(([name]) => name).join(", ")} to a value that Bunker cannot work with, and that it cannot override` +
      `${isPooled ? " through a pooler" : ""}. Run this, then close the open sessions:\n${commands.join("\n")}`,
  );
}

/** Settings that work, but may lose data. */
function warningsOf({ settings }: Facts): string[] {
  const unsafe = ["synchronous_commit", "fsync", "full_page_writes"];
  return unsafe
    .filter((name) => settings[name] === "off")
    .map(
      (name) =>
        `The database has ${name} = off: if its server crashes, changes that Bunker has confirmed may be lost.`,
    );
}
