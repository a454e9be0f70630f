import { asc, desc, type SQL, sql } from "drizzle-orm";
import type { PgColumn } from "drizzle-orm/pg-core";

/** The position of a row in a list that is ordered by time and id. */
export interface Cursor {
  createdAt: Date;
  id: string;
}

/** Where a page begins: after `skip` rows, or after the row that a cursor names. */
export type PageStart = { skip: number } | Cursor;

export interface PageRange {
  start: PageStart;
  limit: number;
}

export interface List<Row> {
  rows: (range: PageRange) => Promise<Row[]>;
  count: () => Promise<number>;
}

/** With a cursor and an index on `(time, id)`, PostgreSQL reads only the rows of the page. */
export function selectPage(
  { time, id }: Record<"time" | "id", PgColumn>,
  direction: "oldest first" | "newest first",
  { start }: Pick<PageRange, "start">,
): { isInPage: SQL | undefined; order: [SQL, SQL]; offset: number } {
  const isNewestFirst = direction === "newest first";
  const order: [SQL, SQL] = isNewestFirst ? [desc(time), desc(id)] : [asc(time), asc(id)];
  if ("skip" in start) return { isInPage: undefined, order, offset: start.skip };
  const comparison = sql.raw(isNewestFirst ? "<" : ">");
  const { createdAt, id: lastId } = start;
  const isInPage = sql`(${time}, ${id}) ${comparison} (${createdAt.toISOString()}::timestamptz, ${lastId}::uuid)`;
  return { isInPage, order, offset: 0 };
}
