/**
 * What most resources do with their rows. The time of the last change is the version of a row.
 * `where` says which rows the caller may use. Any other row is `not_found`.
 */
import { and, eq, type InferSelectModel, inArray, type SQL, sql } from "drizzle-orm";
import type { PgColumn, PgInsertValue, PgTable, PgUpdateSetSource } from "drizzle-orm/pg-core";
import { Problem, Stale } from "../kit/problem.ts";
import type { Db } from "./db.ts";
import { type List, selectPage } from "./page.ts";

type ResourceTable = PgTable & Record<"id" | "createdAt" | "updatedAt", PgColumn>;
type Row<T extends ResourceTable> = InferSelectModel<T>;
/** Fields that these functions set. */
type Given = "id" | "createdAt" | "updatedAt";

interface Context {
  db: Db;
  now: () => Date;
}

/** If `versions` is set, the row must still have one of these `updatedAt` times. */
export interface Target {
  id: string;
  versions?: Date[] | undefined;
}
interface One extends Target {
  where: SQL | undefined;
}

/** Newest first. Needs an index on the columns of `where`, then `createdAt` and `id`. */
export const listRows = <T extends ResourceTable>(
  { db }: Context,
  table: T,
  where: SQL | undefined,
): List<Row<T>> => ({
  rows: async (range) => {
    const page = selectPage({ time: table.createdAt, id: table.id }, "newest first", range);
    const rows = await db
      .select()
      .from(table as PgTable)
      .where(and(required(where), page.isInPage))
      .orderBy(...page.order)
      .limit(range.limit)
      .offset(page.offset);
    return rows as Row<T>[];
  },
  count: () => db.$count(table, required(where)),
});

/** Throws `not_found`. */
export async function getRow<T extends ResourceTable>(
  { db }: Context,
  table: T,
  { id, where }: Omit<One, "versions">,
): Promise<Row<T>> {
  const [row] = await db
    .select()
    .from(table as PgTable)
    .where(and(eq(table.id, id), required(where)));
  if (!row) throw new Problem("not_found");
  return row as Row<T>;
}

export async function insertRow<T extends ResourceTable>(
  { db, now }: Context,
  table: T,
  values: Omit<PgInsertValue<T>, Given>,
): Promise<Row<T>> {
  const createdAt = now();
  const id = Bun.randomUUIDv7("hex", createdAt);
  const row = { ...values, id, createdAt, updatedAt: createdAt };
  const [inserted] = await db
    .insert(table)
    .values(row as PgInsertValue<T>)
    .returning();
  return inserted as Row<T>;
}

/** Throws `not_found`, and `stale` if the row is at none of `versions`. */
export async function updateRow<T extends ResourceTable>(
  ctx: Context,
  table: T,
  { set, ...one }: One & { set: Omit<PgUpdateSetSource<T>, Given> },
): Promise<Row<T>> {
  const [row] = await ctx.db
    .update(table)
    .set({ ...set, updatedAt: nextVersion(ctx, table) } as PgUpdateSetSource<T>)
    .where(isAtVersion(table, one))
    .returning();
  return (row as Row<T> | undefined) ?? refuse(ctx, table, one);
}

/** The new `updatedAt`. Two changes in the same millisecond must not have the same version. */
export const nextVersion = ({ now }: Pick<Context, "now">, table: ResourceTable): SQL =>
  sql`greatest(${now().toISOString()}::timestamptz, ${table.updatedAt} + interval '1 millisecond')`;

/** Returns the deleted row. Throws `not_found`, and `stale` if the row is at none of `versions`. */
export async function deleteRow<T extends ResourceTable>(
  ctx: Context,
  table: T,
  one: One,
): Promise<Row<T>> {
  const [row] = await ctx.db.delete(table).where(isAtVersion(table, one)).returning();
  return (row as Row<T> | undefined) ?? refuse(ctx, table, one);
}

const isAtVersion = (table: ResourceTable, { id, versions, where }: One) =>
  and(eq(table.id, id), required(where), versions && inArray(table.updatedAt, versions));

/** Throws `not_found` if there is no such row, and `stale` if it has another version. */
async function refuse(ctx: Context, table: ResourceTable, one: One): Promise<never> {
  const row = await getRow(ctx, table, one);
  throw new Stale(row["updatedAt"] as Date);
}

/** Drizzle ignores an undefined condition, and the rows of all users would match. */
function required(where: SQL | undefined): SQL {
  if (where === undefined) throw new Error("A row is selected without a condition.");
  return where;
}
