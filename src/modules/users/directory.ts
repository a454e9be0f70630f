import { and, asc, count, gt, ilike, or, sql } from "drizzle-orm";
import type { Actor, Ctx, User } from "../../ctx.ts";
import { prepared } from "../../db/db.ts";
import { countShared } from "../../limits/shared-memory.ts";
import { users } from "./tables.ts";
import { userColumns } from "./users.ts";

/** Where a page begins: `skip` users from the first, or behind the user that a cursor names. */
export type PageStart = { skip: number } | { createdAt: Date; id: string };

const order = [asc(users.createdAt), asc(users.id)];
const limit = sql.placeholder("limit");
const pageFrom = prepared((db) =>
  db
    .select(userColumns)
    .from(users)
    .orderBy(...order)
    .limit(limit)
    .offset(sql.placeholder("skip"))
    .prepare("users_from"),
);
const pageBehind = prepared((db) =>
  db
    .select(userColumns)
    .from(users)
    .where(
      gt(
        sql`(${users.createdAt}, ${users.id})`,
        sql`(${sql.placeholder("createdAt")}::timestamptz, ${sql.placeholder("id")}::uuid)`,
      ),
    )
    .orderBy(...order)
    .limit(limit)
    .prepare("users_behind"),
);

/** Users in the order in which they came, at most `limit`. */
export function listUsers(
  ctx: Ctx,
  _actor: Actor,
  page: { start: PageStart; limit: number },
): Promise<User[]> {
  const { start } = page;
  if ("skip" in start) return pageFrom(ctx.db).execute({ limit: page.limit, skip: start.skip });
  const { createdAt, id } = start;
  return pageBehind(ctx.db).execute({ limit: page.limit, createdAt: createdAt.toISOString(), id });
}

/**
 * Users with `text` in the email, the username or the full name, in any case. For the operator
 * only: it reads the whole table.
 */
export function findUsers(
  { db }: Ctx,
  _actor: Actor,
  { text, start, limit: most }: { text: string; start: PageStart; limit: number },
): Promise<User[]> {
  const pattern = `%${text.replaceAll(/[\\%_]/g, "\\$&")}%`;
  const isMatch = or(
    ...[users.email, users.username, users.fullName].map((column) => ilike(column, pattern)),
  );
  const isBehind =
    "skip" in start
      ? undefined
      : sql`(${users.createdAt}, ${users.id}) > (${start.createdAt.toISOString()}::timestamptz, ${start.id}::uuid)`;
  return db
    .select(userColumns)
    .from(users)
    .where(and(isMatch, isBehind))
    .orderBy(...order)
    .limit(most)
    .offset("skip" in start ? start.skip : 0);
}

/** How many there are; where counting takes long, and instances share a memory, as of a minute ago at most. */
export const countUsers = ({ db, shared }: Ctx, _actor: Actor): Promise<number> =>
  countShared(
    shared,
    "users",
    async () => only(await db.select({ number: count() }).from(users)).number,
  );

function only<T>(rows: T[]): T {
  const [row] = rows;
  if (row === undefined) throw new Error("the database answered no row where one must be");
  return row;
}
