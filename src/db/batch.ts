import { type SQL, type SQLWrapper, sql } from "drizzle-orm";
import type { PgColumn } from "drizzle-orm/pg-core";
import type { Db } from "./db.ts";

/**
 * Matches the rows that `batch`, a subquery with a limit and row locks, selects. PostgreSQL may run
 * a subquery of IN once for each row, which exceeds the limit. It runs a subquery of an array once.
 */
export const isInBatch = (column: PgColumn, batch: SQLWrapper): SQL =>
  sql`${column} = any(array${batch})`;

const DELETED_AT_ONCE = 500;

/** Deletes at most 500 rows that `which` selects. Skips locked rows. Returns how many. */
export async function deleteBatch(
  db: Db,
  primaryKey: PgColumn,
  which: SQL | undefined,
): Promise<number> {
  const { table } = primaryKey;
  const batch = sql`(select ${primaryKey} from ${table} where ${which} limit ${DELETED_AT_ONCE} for update skip locked)`;
  const deleted = await db.execute(
    sql`delete from ${table} where ${isInBatch(primaryKey, batch)} returning 1`,
  );
  return deleted.length;
}
