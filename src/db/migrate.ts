import { type Exit, misconfigured } from "../kit/exit.ts";
import { migrations as productMigrations } from "../product/migrations.ts";
import type { Sql } from "./db.ts";
import { causeOf, isOutage } from "./failures.ts";
import { advisoryLocks } from "./locks.ts";
import { migrations as bunkerMigrations } from "./migrations.ts";

interface Migration {
  tag: string;
  sql: string;
}

/** Those of Bunker first: the product's may refer to its tables. The prefix keeps tags apart. */
export const migrations: readonly Migration[] = [
  ...bunkerMigrations,
  ...productMigrations.map(({ tag, sql }) => ({ tag: `product/${tag}`, sql })),
];

/** Tags of migrations. `unknown` ones were applied by a newer Bunker. */
export interface MigrationStatus {
  applied: string[];
  pending: string[];
  unknown: string[];
}

/** By the simple protocol: one round trip for each statement. */
export async function migrationStatus(
  sql: Sql,
  { isMigrated }: { isMigrated?: boolean } = {},
): Promise<MigrationStatus> {
  const applied = (isMigrated ?? (await hasMigrations(sql))) ? await appliedTags(sql) : [];
  const known = migrations.map(({ tag }) => tag);
  return {
    applied,
    pending: known.filter((tag) => !applied.includes(tag)),
    unknown: applied.filter((tag) => !known.includes(tag)),
  };
}

async function hasMigrations(sql: Sql): Promise<boolean> {
  const [database] = await sql<{ isMigrated: boolean }[]>`
    select to_regclass('public.bunker_migrations') is not null as "isMigrated"`.simple();
  return database?.isMigrated === true;
}

async function appliedTags(sql: Sql): Promise<string[]> {
  const tags = sql<{ tag: string }[]>`select tag from public.bunker_migrations order by tag`;
  return (await tags.simple()).map(({ tag }) => tag);
}

/**
 * Returns the tags. Each migration and its entry are one transaction: a crash leaves the old schema
 * or the new one. Instances that start at the same time wait for the first one.
 */
export async function migrate(sql: Sql): Promise<string[]> {
  if ((await migrationStatus(sql)).pending.length === 0) return [];
  const connection = await sql.reserve();
  try {
    await connection`set statement_timeout = 0`;
    await connection`select pg_advisory_lock(${advisoryLocks.migrations})`;
    await connection`create table if not exists public.bunker_migrations (
      tag text primary key, applied_at timestamptz not null default now())`;
    const { pending } = await migrationStatus(connection);
    for (const migration of migrations.filter(({ tag }) => pending.includes(tag)))
      await apply(connection, migration);
    return pending;
  } finally {
    await cleanUp(connection`rollback`);
    await cleanUp(connection`select pg_advisory_unlock_all()`);
    await cleanUp(connection`reset statement_timeout`);
    connection.release();
  }
}

async function apply(connection: Sql, { tag, sql }: Migration): Promise<void> {
  try {
    await connection`begin`;
    await connection.unsafe(sql);
    await connection`insert into public.bunker_migrations (tag) values (${tag})`;
    await connection`commit`;
  } catch (error) {
    throw refusalOf(error, tag) ?? error;
  }
}

/** An Exit for failures that a retry does not fix. The migration was rolled back. */
function refusalOf(error: unknown, tag: string): Exit | undefined {
  const { code = "" } = causeOf(error);
  const head = `The migration ${tag} failed and was rolled back (${code}):`;
  if (ALREADY_EXISTS.includes(code))
    return misconfigured(
      `${head} an object that it creates already exists in the schema "public", and Bunker did not create it. Use a separate database for Bunker in DATABASE_URL.`,
    );
  if (code === NOT_ALLOWED)
    return misconfigured(
      `${head} the role of DATABASE_URL may not change the tables. Run it as the role that owns them.`,
    );
  if (REFUSED.test(code) && !isOutage(error))
    return misconfigured(
      `${head} the database refuses its SQL, or existing rows do not fit it. See the log of the database.`,
    );
  return undefined;
}

/** A table, a function, or another object. */
const ALREADY_EXISTS = ["42P07", "42723", "42710"];
const NOT_ALLOWED = "42501";
/** Classes of SQLSTATE: unsupported features, data and constraints, syntax and names, PL/pgSQL. */
const REFUSED = /^(0A|2|42|P0)/;

/** Ignores errors: a lost connection needs no cleanup, and the first error is the one to report. */
const cleanUp = (work: Promise<unknown>): Promise<unknown> => work.catch(() => undefined);
