import { type SQL, type SQLWrapper, sql } from "drizzle-orm";
import type { PgColumn } from "drizzle-orm/pg-core";

/**
 * Rows that a subquery with a limit and row locks selects, for a job that deletes or takes a few at a time. PostgreSQL may run the
 * subquery of IN once for each row, and would then go beyond its limit. It runs the one of an array once.
 */
export const isInBatch = (column: PgColumn, batch: SQLWrapper): SQL =>
  sql`${column} = any(array${batch})`;
