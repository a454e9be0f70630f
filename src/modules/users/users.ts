import { and, eq, getTableColumns, inArray, not, sql } from "drizzle-orm";
import type { Actor, Ctx, User } from "../../ctx.ts";
import { type Db, prepared, transact } from "../../db/db.ts";
import { users } from "../../db/schema.ts";
import { hashPassword, type PasswordRules, readPassword } from "../../kit/password.ts";
import { accept, type FieldProblem, fieldProblem, Problem } from "../../kit/problem.ts";
import { readStoredHash } from "../../kit/stored-hash.ts";
import { record } from "../events/events.ts";
import { enqueueMail } from "../mail/mail.ts";
import { sendLink } from "../one-time/one-time.ts";
import { endSessionsOf } from "../sessions/sessions.ts";
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
/** What everyone may handle of an account. */
export const userColumns = columns;

export interface NewUser {
  email: string;
  /** Or a hash from elsewhere, of a kind that `kit/stored-hash` knows. */
  password: string | { hash: string };
  username?: string | undefined;
  fullName?: string | null | undefined;
  locale?: string | null | undefined;
  isSuperuser?: boolean;
  /** Mails a link by which its owner proves the address. */
  isToBeVerified?: boolean;
}

/**
 * Makes an account; a username that was not given is made from the address. Throws `invalid_request` with all that is
 * wrong with its fields, `email_taken`, `username_taken`, `busy`.
 */
export async function createUser(
  ctx: Pick<Ctx, "config" | "db" | "envelope" | "hashing" | "now">,
  actor: Actor,
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
    password: readSecret(input.password, rules),
  });
  const row = {
    email: email.shown,
    emailKey: email.key,
    fullName,
    locale,
    isSuperuser: input.isSuperuser ?? false,
    passwordHash: password.hash ?? (await hashPassword(ctx.hashing, password.clear)),
  };
  const { isToBeVerified = false } = input;
  const insert = (name: Name) => insertAs(ctx, actor, { row, username: name, isToBeVerified });
  if (username) return insert(username);
  for (const name of usernamesFrom(email))
    try {
      return await insert(name);
    } catch (error) {
      // Somebody has the name that the address gives: another one is made, and the person not refused.
      if (!(error instanceof Problem) || error.code !== "username_taken") throw error;
    }
  throw new Problem("username_taken");
}

type Secret = { clear: string; hash?: never } | { hash: string };

/** Reads a password, or takes a hash for what it is. */
function readSecret(password: NewUser["password"], rules: PasswordRules): Secret | FieldProblem {
  if (typeof password !== "string")
    return readStoredHash(password.hash)
      ? password
      : fieldProblem("/password", "wrong_format", UNKNOWN_HASH);
  const clear = readPassword("/password", password, rules);
  return typeof clear === "string" ? { clear } : clear;
}
const UNKNOWN_HASH =
  "is not a hash of a kind that Bunker knows (argon2, bcrypt, scrypt, PBKDF2), or demands too much of each sign-in";

type NewRow = Omit<
  typeof users.$inferInsert,
  "id" | "username" | "usernameKey" | "createdAt" | "updatedAt"
>;

async function insertAs(
  ctx: Pick<Ctx, "config" | "db" | "envelope" | "now">,
  actor: Actor,
  { row, username, isToBeVerified }: { row: NewRow; username: Name; isToBeVerified: boolean },
): Promise<User> {
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
    if (user) {
      await record({ ...ctx, db: tx }, actor, {
        type: "user.created",
        subjectId: user.id,
        data: {},
      });
      if (isToBeVerified) await sendLink({ ...ctx, db: tx }, "verify_email", user);
      return user;
    }
    const other = await tx.select({ id: users.id }).from(users).where(eq(emailKey, row.emailKey));
    throw new Problem(other.length > 0 ? "email_taken" : "username_taken");
  });
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

const wireNames = {
  username: "username",
  fullName: "full_name",
  locale: "locale",
  isActive: "is_active",
  isSuperuser: "is_superuser",
} as const;

/**
 * Changes what is given and leaves the rest; deactivating ends every session. Throws `not_found`, `invalid_request`, `username_taken`, and
 * `last_superuser` where nobody would be left to administer the service, `stale` where it is at none of `versions`.
 */
export async function updateUser(
  ctx: Pick<Ctx, "db" | "envelope" | "now">,
  actor: Actor,
  { id, versions, ...changes }: Target & UserChanges,
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
    const [user] = await tx.update(users).set(set).where(isAt(id, versions)).returning(columns);
    if (!user) throw await missing(tx, id);
    const within = { ...ctx, db: tx };
    const fields = Object.entries(wireNames)
      .filter(([key]) => changes[key as keyof UserChanges] !== undefined)
      .map(([, name]) => name);
    await record(within, actor, { type: "user.updated", subjectId: id, data: { fields } });
    if (isActive === false) await endSessionsOf(within, actor, { userId: id, which: "all" });
    if (isActive === false) await enqueueMail(within, { kind: "account_deactivated", to: user });
    return user;
  });
}

/** An account; where `versions` are given, only while it was last changed at one of them. */
interface Target {
  id: string;
  versions?: Date[] | undefined;
}
const isAt = (id: string, versions: Date[] | undefined) =>
  and(eq(users.id, id), versions && inArray(users.updatedAt, versions));

/** Why there was nothing to change. */
async function missing(db: Db, id: string): Promise<Problem> {
  return new Problem((await findUser({ db }, id)) ? "stale" : "not_found");
}

/** Removes an account and its sessions; what happened to it stays known. Throws `not_found`, `stale`, `last_superuser`. */
export async function deleteUser(
  ctx: Pick<Ctx, "db" | "now">,
  actor: Actor,
  { id, versions }: Target,
): Promise<void> {
  await ctx.db.transaction(async (tx) => {
    await refuseLastSuperuser(tx, id);
    const within = { ...ctx, db: tx };
    // The account before its sessions, as whoever changes it does: two at once wait for one another, and not in a circle.
    const isThere = isAt(id, versions);
    const locked = await tx.select({ id: users.id }).from(users).where(isThere).for("update");
    if (locked.length === 0) throw await missing(tx, id);
    await endSessionsOf(within, actor, { userId: id, which: "all" });
    await tx.delete(users).where(eq(users.id, id));
    await record(within, actor, { type: "user.deleted", subjectId: id, data: {} });
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

/** Takes the address of an account for proven, in the caller's transaction. */
export async function markVerified(
  ctx: Pick<Ctx, "db" | "now">,
  actor: Actor,
  id: string,
): Promise<void> {
  const set = { emailVerified: true, updatedAt: ctx.now() };
  const changed = await ctx.db
    .update(users)
    .set(set)
    .where(and(eq(users.id, id), not(users.emailVerified)))
    .returning({ id: users.id });
  if (changed.length > 0)
    await record(ctx, actor, { type: "email.verified", subjectId: id, data: {} });
}

/** One key for all spellings of an e-mail address or a username. */
export const identifierKeyOf = (name: string): string =>
  name.includes("@") ? (emailKeyOf(name) ?? "") : usernameKeyOf(name);
