import { and, asc, gt, ilike, or, sql } from "drizzle-orm";
import { requireAdministrator, requireOperator } from "../../access.ts";
import type { Actor, Ctx, User } from "../../ctx.ts";
import { prepared } from "../../db/db.ts";
import { type PageRange, selectPage } from "../../db/page.ts";
import { countShared } from "../../limits/shared-store.ts";
import { userColumns, users } from "./tables.ts";

/** In the order of registration. Throws `forbidden`. */
export async function listUsers(
  ctx: Ctx,
  actor: Actor,
  { start, limit: pageSize }: PageRange,
): Promise<User[]> {
  requireAdministrator(actor);
  if ("skip" in start) return pageFrom(ctx.db).execute({ limit: pageSize, skip: start.skip });
  const { createdAt, id } = start;
  return pageAfter(ctx.db).execute({ limit: pageSize, createdAt: createdAt.toISOString(), id });
}

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
const pageAfter = prepared((db) =>
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

/** Searches email, username and full name. Reads the whole table. Throws `forbidden`. */
export async function findUsers(
  { db }: Ctx,
  actor: Actor,
  { text, ...range }: { text: string } & PageRange,
): Promise<User[]> {
  requireOperator(actor);
  const pattern = `%${text.replaceAll(/[\\%_]/g, "\\$&")}%`;
  const isMatch = or(
    ...[users.email, users.username, users.fullName].map((column) => ilike(column, pattern)),
  );
  const page = selectPage({ time: users.createdAt, id: users.id }, "oldest first", range);
  return db
    .select(userColumns)
    .from(users)
    .where(and(isMatch, page.isInPage))
    .orderBy(...page.order)
    .limit(range.limit)
    .offset(page.offset);
}

/** If counting takes long and instances share Redis, up to a minute old. Throws `forbidden`. */
export async function countUsers({ db, sharedStore }: Ctx, actor: Actor): Promise<number> {
  requireAdministrator(actor);
  return countShared(sharedStore, "users", () => db.$count(users));
}
