import { and, eq, inArray, sql } from "drizzle-orm";
import { requireAdministrator, requireOwnerOf } from "../../access.ts";
import {
  hashPassword,
  type PasswordRules,
  passwordRules,
  readPassword,
} from "../../credentials/password.ts";
import { readStoredHash } from "../../credentials/stored-hash.ts";
import type { Actor, Ctx, User } from "../../ctx.ts";
import { prepared } from "../../db/db.ts";
import type { Target } from "../../db/rows.ts";
import { transaction } from "../../db/transaction.ts";
import {
  emailKeyOf,
  localPartOf,
  type Name,
  readFullName,
  readLocale,
  readNewEmail,
  readUsername,
  usernameKeyOf,
  usernamesFrom,
  withFreeName,
} from "../../kit/names.ts";
import {
  accept,
  type FieldProblem,
  fieldProblem,
  Problem,
  Stale,
  UserGone,
} from "../../kit/problem.ts";
import { ALL, changeOf, failuresOf } from "../../limits/policies.ts";
import { eraseOrigins, record } from "../events/events.ts";
import { idempotency } from "../idempotency/tables.ts";
import { endAccountLinks, endRequests, sendLink } from "../links/links.ts";
import { enqueueMail, eraseMails } from "../mail/mail.ts";
import { registrations } from "../registration/tables.ts";
import { endSessionsOf } from "../sessions/sessions.ts";
import { changedFields, readChanges, readIfGiven, type UserChanges } from "./changes.ts";
import { refuseLastSuperuser } from "./last-superuser.ts";
import { userColumns, users } from "./tables.ts";

export interface NewUser {
  email: string;
  /** Or a hash from another system (`credentials/stored-hash`). */
  password: string | { hash: string };
  username?: string | undefined;
  fullName?: string | null | undefined;
  locale?: string | null | undefined;
  isSuperuser?: boolean;
  /** `known`: counts as verified. `asked`: a link is mailed. Undefined: unverified, and no mail. */
  verification?: "known" | "asked" | undefined;
}

/**
 * Creates a user. Without a username, one is made from the email. Throws `invalid_request`,
 * `email_taken`, `username_taken`, `busy`, and `forbidden` for what only an administrator may set:
 * a superuser, a verified email, a hash.
 */
export async function createUser(ctx: Ctx, actor: Actor, input: NewUser): Promise<User> {
  const isPlain = typeof input.password === "string" && input.verification !== "known";
  if (input.isSuperuser || !isPlain) requireAdministrator(actor);
  const { email, username, fullName, locale, password } = readNewUser(ctx, input);
  const row = {
    email: email.shown,
    emailKey: email.key,
    fullName,
    locale,
    isSuperuser: input.isSuperuser ?? false,
    emailVerified: input.verification === "known",
    passwordHash: password.hash ?? (await hashPassword(ctx.hashing, password.clear)),
  };
  const names = username ? [username] : usernamesFrom(localPartOf(email.shown));
  const isMailed = input.verification === "asked";
  const user = await insertUser(ctx, actor, { row, names, isMailed });
  if (!user) throw new Problem("email_taken");
  return user;
}

/** Throws `invalid_request` with all invalid fields. */
export function readNewUser({ config }: Ctx, input: NewUser) {
  const names = [input.email, input.username ?? "", input.fullName ?? ""];
  return accept({
    email: readNewEmail(input.email, config),
    username: input.username === undefined ? undefined : readUsername(input.username),
    fullName: readIfGiven(input.fullName, readFullName) ?? null,
    locale: readIfGiven(input.locale, readLocale) ?? null,
    password: readSecret(input.password, passwordRules(config, names)),
  });
}

type Secret = { clear: string; hash?: never } | { hash: string };

function readSecret(password: NewUser["password"], rules: PasswordRules): Secret | FieldProblem {
  if (typeof password !== "string") {
    const check = readStoredHash(password.hash);
    return typeof check === "string" ? fieldProblem("/password", "wrong_format", check) : password;
  }
  const clear = readPassword("/password", password, rules);
  return typeof clear === "string" ? { clear } : clear;
}

interface NewRow {
  row: Omit<
    typeof users.$inferInsert,
    "id" | "username" | "usernameKey" | "createdAt" | "updatedAt"
  >;
  /** Usernames in the order of preference. */
  names: Iterable<Name>;
  isMailed: boolean;
}

/** Takes the first free name. Returns undefined if the email is taken. Throws `username_taken`. */
export const insertUser = (
  ctx: Ctx,
  actor: Actor,
  { row, names, isMailed }: NewRow,
): Promise<User | undefined> =>
  withFreeName(names, (name) => {
    const now = ctx.now();
    const values = {
      ...row,
      id: Bun.randomUUIDv7("hex", now),
      username: name.shown,
      usernameKey: name.key,
      createdAt: now,
      updatedAt: now,
    };
    return transaction(ctx, async (tx) => {
      const [user] = await tx.db
        .insert(users)
        .values(values)
        .onConflictDoNothing()
        .returning(userColumns);
      if (!user) {
        if (await isEmailTaken(tx, row.emailKey)) return undefined;
        throw new Problem("username_taken");
      }
      await record(tx, actor, { type: "user.created", subjectId: user.id, data: {} });
      // Earlier failed sign-ins must not lock the user out.
      await clearFailures(tx, user);
      if (isMailed) await sendLink(tx, { purpose: "verify_email", user });
      return user;
    });
  });

const isEmailTaken = async ({ db }: Ctx, emailKey: string): Promise<boolean> =>
  (await db.select({ id: users.id }).from(users).where(eq(users.emailKey, emailKey))).length > 0;

/**
 * Changes the given fields. Deactivating a user ends all of their sessions. Throws `not_found`,
 * `invalid_request`, `username_taken`, `last_superuser`, `stale`, and `too_many_requests` for the
 * caller's own user. Throws `forbidden` for another user, and for `isActive` and `isSuperuser`,
 * unless the actor is an administrator.
 */
export async function updateUser(
  ctx: Ctx,
  actor: Actor,
  { id, versions, ...changes }: Target & UserChanges,
): Promise<User> {
  requireOwnerOf(id, actor);
  if (changes.isActive !== undefined || changes.isSuperuser !== undefined)
    requireAdministrator(actor);
  const set = readChanges(changes);
  const current = await findUser(ctx, id);
  // A request that changes nothing takes no lock and consumes no limit.
  if (changedFields(current, { id, versions }, set).length === 0 && current) return current;
  if (actor.kind === "user" && actor.user.id === id)
    await ctx.limits.consume(actor.origin, [changeOf(id, "profile")]);
  return transaction(ctx, async (tx) => {
    if (set.isActive === false || set.isSuperuser === false) await refuseLastSuperuser(tx.db, id);
    const isTarget = eq(users.id, id);
    const [before] = await tx.db
      .select(userColumns)
      .from(users)
      .where(isTarget)
      .for("no key update");
    const fields = changedFields(before, { id, versions }, set);
    if (fields.length === 0 && before) return before;
    const values = { ...set, updatedAt: ctx.now() };
    const [user] = await tx.db.update(users).set(values).where(isTarget).returning(userColumns);
    if (!user) throw new UserGone(id);
    await record(tx, actor, { type: "user.updated", subjectId: id, data: { fields } });
    if (!user.isActive && fields.includes("is_active")) await endAccess(tx, actor, user);
    return user;
  });
}

/** Ends the sessions and links of a deactivated user, in the caller's transaction. */
async function endAccess(ctx: Ctx, actor: Actor, user: User): Promise<void> {
  await endSessionsOf(ctx, actor, { userId: user.id, which: "all" });
  await endAccountLinks(ctx, user.id);
  if (user.emailVerified) await enqueueMail(ctx, { kind: "account_deactivated", to: user });
}

const isAtVersion = (id: string, versions: Date[] | undefined) =>
  and(eq(users.id, id), versions && inArray(users.updatedAt, versions));

async function notFoundOrStale(ctx: Ctx, id: string): Promise<Problem> {
  const user = await findUser(ctx, id);
  return user ? new Stale(user.updatedAt) : new UserGone(id);
}

/**
 * Deletes a user and their sessions, and erases what other tables hold of them, except events. A
 * verified email gets a notice. Throws `not_found`, `stale`, `last_superuser`, and `forbidden` for
 * another user, unless the actor is an administrator.
 */
export async function deleteUser(ctx: Ctx, actor: Actor, { id, versions }: Target): Promise<void> {
  requireOwnerOf(id, actor);
  await transaction(ctx, async (tx) => {
    await refuseLastSuperuser(tx.db, id);
    // Blocks inserts that refer to the user: such a row must not appear after these deletes.
    const isTarget = isAtVersion(id, versions);
    const [user] = await tx.db.select(userColumns).from(users).where(isTarget).for("update");
    if (!user) throw await notFoundOrStale(tx, id);
    await endRequests(tx, id);
    await endSessionsOf(tx, actor, { userId: id, which: "all" });
    await tx.db.delete(users).where(eq(users.id, id));
    await record(tx, actor, { type: "user.deleted", subjectId: id, data: {} });
    await eraseUser(tx, user);
    await clearFailures(tx, user);
    if (!user.emailVerified) return;
    const details = { time: `${ctx.now().toISOString().slice(0, 16).replace("T", " ")} UTC` };
    await enqueueMail(tx, { kind: "account_deleted", to: { ...user, id: null }, details });
  });
}

/** In the deleting transaction, after the user's last event is recorded. */
async function eraseUser(ctx: Ctx, user: User): Promise<void> {
  const { id, email } = user;
  await eraseOrigins(ctx, id);
  await eraseMails(ctx, user);
  const registered = sql`(${idempotency.outcome} -> 'value' ->> 'id')`;
  await ctx.db.delete(idempotency).where(eq(registered, id));
  await ctx.db.delete(registrations).where(eq(registrations.emailKey, identifierKeyOf(email)));
}

const byId = prepared((db) =>
  db
    .select(userColumns)
    .from(users)
    .where(eq(users.id, sql.placeholder("id")))
    .prepare("user_by_id"),
);

export async function findUser(ctx: Ctx, id: string): Promise<User | undefined> {
  const [user] = await byId(ctx.db).execute({ id });
  return user;
}

/** Throws `forbidden`, `not_found`. */
export async function getUser(ctx: Ctx, actor: Actor, id: string): Promise<User> {
  requireOwnerOf(id, actor);
  const user = await findUser(ctx, id);
  if (!user) throw new Problem("not_found");
  return user;
}

/** Lets unknown clients sign in again. Throws `forbidden`, `not_found`. */
export async function unlockUser(ctx: Ctx, actor: Actor, id: string): Promise<User> {
  requireAdministrator(actor);
  return transaction(ctx, async (tx) => {
    const isTarget = eq(users.id, id);
    const [user] = await tx.db.select(userColumns).from(users).where(isTarget).for("no key update");
    if (!user) throw new UserGone(id);
    await clearFailures(tx, user);
    await record(tx, actor, { type: "user.unlocked", subjectId: id, data: {} });
    return user;
  });
}

/** Clears the failed sign-ins by email and by username, in the caller's transaction. */
export const clearFailures = (
  { db, limits }: Ctx,
  { email, username }: Pick<User, "email" | "username">,
): Promise<void> =>
  limits.refund(
    db,
    [email, username].flatMap((name) =>
      failuresOf(identifierKeyOf(name)).map((failure) => ({ ...failure, count: ALL })),
    ),
  );

/** One key for all spellings of an email or a username. */
export const identifierKeyOf = (name: string): string =>
  name.includes("@") ? (emailKeyOf(name) ?? "") : usernameKeyOf(name);
