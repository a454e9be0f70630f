import { asc, count, eq, getTableColumns, gt, sql } from "drizzle-orm";
import type { Actor, Ctx, User } from "../../ctx.ts";
import { type Db, prepared, transact } from "../../db/db.ts";
import { users } from "../../db/schema.ts";
import { hashPassword, readPassword } from "../../kit/password.ts";
import { accept, Problem } from "../../kit/problem.ts";
import {
  emailKeyOf,
  type Name,
  readEmail,
  readFullName,
  readLocale,
  readUsername,
  usernameKeyOf,
  usernamesFrom,
} from "./names.ts";

const { passwordHash, emailKey, usernameKey, ...columns } = getTableColumns(users);

export interface NewUser {
  email: string;
  password: string;
  username?: string | undefined;
  fullName?: string | null | undefined;
  locale?: string | null | undefined;
  isSuperuser?: boolean;
}

/**
 * Makes an account; a username that was not given is made from the address. Throws `invalid_request` with all that is
 * wrong with its fields, `email_taken`, `username_taken`.
 */
export async function createUser(
  ctx: Pick<Ctx, "config" | "db" | "now">,
  _actor: Actor,
  input: NewUser,
): Promise<User> {
  const rules = {
    minLength: ctx.config.passwordMinLength,
    names: [input.email, input.username ?? "", input.fullName ?? ""],
  };
  const { email, username, fullName, locale, password } = accept({
    email: readEmail(input.email),
    username: input.username === undefined ? undefined : readUsername(input.username),
    fullName: optional(input.fullName, readFullName) ?? null,
    locale: optional(input.locale, readLocale) ?? null,
    password: readPassword("/password", input.password, rules),
  });
  const row = {
    email: email.shown,
    emailKey: email.key,
    fullName,
    locale,
    isSuperuser: input.isSuperuser ?? false,
    passwordHash: await hashPassword(password),
  };
  if (username) return insert(ctx, row, username);
  return insertUnnamed(ctx, row, email);
}

type NewRow = Omit<
  typeof users.$inferInsert,
  "id" | "username" | "usernameKey" | "createdAt" | "updatedAt"
>;

async function insert(ctx: Pick<Ctx, "db" | "now">, row: NewRow, username: Name): Promise<User> {
  const now = ctx.now();
  const values = {
    ...row,
    id: Bun.randomUUIDv7("hex", now),
    username: username.shown,
    usernameKey: username.key,
    createdAt: now,
    updatedAt: now,
  };
  return transact(ctx.db, async (tx) => {
    const [user] = await tx.insert(users).values(values).onConflictDoNothing().returning(columns);
    if (user) return user;
    const other = await tx.select({ id: users.id }).from(users).where(eq(emailKey, row.emailKey));
    throw new Problem(other.length > 0 ? "email_taken" : "username_taken");
  });
}

/** Somebody may have the name that the address gives; then another one is made, not the person refused. */
async function insertUnnamed(
  ctx: Pick<Ctx, "db" | "now">,
  row: NewRow,
  email: Name,
): Promise<User> {
  for (const username of usernamesFrom(email))
    try {
      return await insert(ctx, row, username);
    } catch (error) {
      if (!(error instanceof Problem) || error.code !== "username_taken") throw error;
    }
  throw new Problem("username_taken");
}

/** Reads what was given; undefined leaves a field as it is, null clears it. */
const optional = <T>(text: string | null | undefined, read: (text: string) => T) =>
  typeof text === "string" ? read(text) : text;

export interface UserChanges {
  username?: string;
  fullName?: string | null;
  locale?: string | null;
  isActive?: boolean;
  isSuperuser?: boolean;
}

/**
 * Changes what is given and leaves the rest. Throws `not_found`, `invalid_request`, `username_taken`, and
 * `last_superuser` where nobody would be left to administer the service.
 */
export async function updateUser(
  ctx: Pick<Ctx, "db" | "now">,
  _actor: Actor,
  { id, ...changes }: { id: string } & UserChanges,
): Promise<User> {
  const { username, fullName, locale } = accept({
    username: changes.username === undefined ? undefined : readUsername(changes.username),
    fullName: optional(changes.fullName, readFullName),
    locale: optional(changes.locale, readLocale),
  });
  const { isActive, isSuperuser } = changes;
  const set = {
    fullName,
    isActive,
    isSuperuser,
    locale,
    username: username?.shown,
    usernameKey: username?.key,
    updatedAt: ctx.now(),
  };
  return transact(ctx.db, async (tx) => {
    if (isActive === false || isSuperuser === false) await refuseLastSuperuser(tx, id);
    const [user] = await tx.update(users).set(set).where(eq(users.id, id)).returning(columns);
    if (!user) throw new Problem("not_found");
    return user;
  });
}

/** Locks every active superuser, so that two of them who demote each other at once do not both succeed. */
async function refuseLastSuperuser(tx: Db, id: string): Promise<void> {
  const active = await tx
    .select({ id: users.id })
    .from(users)
    .where(sql`${users.isSuperuser} and ${users.isActive}`)
    .orderBy(users.id)
    .for("update");
  if (active.length === 1 && active[0]?.id === id) throw new Problem("last_superuser");
}

/** Sets a new password. Throws `not_found`, `invalid_request`. */
export async function setPassword(
  ctx: Pick<Ctx, "config" | "db" | "now">,
  _actor: Actor,
  input: { user: User; password: string },
): Promise<void> {
  const { id, email, username, fullName } = input.user;
  const rules = {
    minLength: ctx.config.passwordMinLength,
    names: [email, username, fullName ?? ""],
  };
  const { password } = accept({ password: readPassword("/password", input.password, rules) });
  const set = { passwordHash: await hashPassword(password), updatedAt: ctx.now() };
  const changed = await ctx.db
    .update(users)
    .set(set)
    .where(eq(users.id, id))
    .returning({ id: users.id });
  if (changed.length === 0) throw new Problem("not_found");
}

const byId = prepared((db) =>
  db
    .select(columns)
    .from(users)
    .where(eq(users.id, sql.placeholder("id")))
    .prepare("user_by_id"),
);

export async function findUser(ctx: Pick<Ctx, "db">, id: string): Promise<User | undefined> {
  const [user] = await byId(ctx.db).execute({ id });
  return user;
}

export async function getUser(ctx: Pick<Ctx, "db">, _actor: Actor, id: string): Promise<User> {
  const user = await findUser(ctx, id);
  if (!user) throw new Problem("not_found");
  return user;
}

const byEmail = prepared((db) =>
  db
    .select({ ...columns, passwordHash })
    .from(users)
    .where(eq(emailKey, sql.placeholder("key")))
    .prepare("user_by_email"),
);
const byUsername = prepared((db) =>
  db
    .select({ ...columns, passwordHash })
    .from(users)
    .where(eq(usernameKey, sql.placeholder("key")))
    .prepare("user_by_username"),
);

/** Finds whom an e-mail address or a username names; a username has no `@`, so none is ever both. */
export async function findCredentials(
  ctx: Pick<Ctx, "db">,
  name: string,
): Promise<(User & { passwordHash: string }) | undefined> {
  const [found] = name.includes("@")
    ? await byEmail(ctx.db).execute({ key: emailKeyOf(name) ?? "" })
    : await byUsername(ctx.db).execute({ key: usernameKeyOf(name) });
  return found;
}

/** Where a page begins: `skip` users from the first, or behind the user that a cursor names. */
export type PageStart = { skip: number } | { createdAt: Date; id: string };

const order = [asc(users.createdAt), asc(users.id)];
const limit = sql.placeholder("limit");
const pageFrom = prepared((db) =>
  db
    .select(columns)
    .from(users)
    .orderBy(...order)
    .limit(limit)
    .offset(sql.placeholder("skip"))
    .prepare("users_from"),
);
const pageBehind = prepared((db) =>
  db
    .select(columns)
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
  ctx: Pick<Ctx, "db">,
  _actor: Actor,
  page: { start: PageStart; limit: number },
): Promise<User[]> {
  const { start } = page;
  if ("skip" in start) return pageFrom(ctx.db).execute({ limit: page.limit, skip: start.skip });
  const { createdAt, id } = start;
  return pageBehind(ctx.db).execute({ limit: page.limit, createdAt: createdAt.toISOString(), id });
}

export async function countUsers(ctx: Pick<Ctx, "db">, _actor: Actor): Promise<number> {
  return only(await ctx.db.select({ number: count() }).from(users)).number;
}

function only<T>(rows: T[]): T {
  const [row] = rows;
  if (row === undefined) throw new Error("the database answered no row where one must be");
  return row;
}
