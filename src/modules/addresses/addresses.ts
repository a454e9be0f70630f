import { and, eq, isNotNull, lt, ne, not, sql } from "drizzle-orm";
import type { Actor, Ctx, User } from "../../ctx.ts";
import { isInBatch } from "../../db/batch.ts";
import { transaction } from "../../db/transaction.ts";
import {
  localPartOf,
  type Name,
  readEmail,
  usernameKeyOf,
  usernamesFrom,
  withFreeName,
} from "../../kit/names.ts";
import { accept } from "../../kit/problem.ts";
import { record } from "../events/events.ts";
import { sessions } from "../sessions/tables.ts";
import { users } from "../users/tables.ts";
import { clearFailures, eraseUsers, findUser } from "../users/users.ts";

/**
 * Marks a user's email as verified, in the caller's transaction. The user also gets the username
 * that was held back.
 */
export async function markVerified(ctx: Ctx, actor: Actor, id: string): Promise<void> {
  const set = { emailVerified: true, updatedAt: ctx.now() };
  const [changed] = await ctx.db
    .update(users)
    .set(set)
    .where(and(eq(users.id, id), not(users.emailVerified)))
    .returning({ wanted: users.wantedUsername });
  if (!changed) return;
  if (changed.wanted !== null) await claimUsername(ctx, id, changed.wanted);
  await record(ctx, actor, { type: "email.verified", subjectId: id, data: {} });
  // Earlier guesses at these names must not lock the user out.
  const user = await findUser(ctx, id);
  if (user) await clearFailures(ctx, user);
}

/**
 * Marks a user as in use although the email is unverified, in the caller's transaction. The user
 * gets the username that was held back, and no later registration replaces it.
 */
export async function settle(ctx: Ctx, id: string): Promise<void> {
  const [found] = await ctx.db
    .select({ wanted: users.wantedUsername })
    .from(users)
    .where(eq(users.id, id));
  if (found?.wanted) await claimUsername(ctx, id, found.wanted);
}

/** Gives a user the wanted username, or a similar one if it is taken by now. */
async function claimUsername(ctx: Ctx, id: string, wanted: string): Promise<void> {
  const first = { shown: wanted, key: usernameKeyOf(wanted) };
  await withFreeName([first, ...usernamesFrom(wanted)], ({ shown, key }) =>
    transaction(ctx, ({ db }) =>
      db
        .update(users)
        .set({ username: shown, usernameKey: key, wantedUsername: null })
        .where(eq(users.id, id)),
    ),
  );
}

/** Reads an email that a link was mailed to. Throws `invalid_request`. */
export const acceptEmail = (email: string) => accept({ email: readEmail(email) }).email;

/**
 * Gives a user another email, still unverified, in the caller's transaction. A user who has that
 * email but never verified it loses it: otherwise registering an email would block its owner.
 * Throws `email_taken`.
 */
export async function changeEmail(
  ctx: Ctx,
  actor: Actor,
  { id, email, type }: { id: string; email: Name; type: "email.changed" | "email.restored" },
): Promise<void> {
  const { shown, key } = email;
  const isUnverifiedDuplicate = and(
    eq(users.emailKey, key),
    not(users.emailVerified),
    ne(users.id, id),
  );
  // No user can have registered this email: it cannot be guessed, and `.invalid` is rejected (RFC
  // 2606).
  const placeholder = `user-${crypto.randomUUID()}@displaced.invalid`;
  const displaced = await ctx.db
    .update(users)
    .set({ email: placeholder, emailKey: placeholder, updatedAt: ctx.now() })
    .where(isUnverifiedDuplicate)
    .returning({ id: users.id });
  // Record it without an origin: the displaced user must not learn who verified the email.
  for (const { id: subjectId } of displaced)
    await record(ctx, { kind: "anonymous" }, { type: "email.changed", subjectId, data: {} });
  const set = { email: shown, emailKey: key, emailVerified: false, updatedAt: ctx.now() };
  await transaction(ctx, (tx) => tx.db.update(users).set(set).where(eq(users.id, id)));
  await record(ctx, actor, { type, subjectId: id, data: {} });
}

/**
 * The fields of a registration. While the email is unverified, a later registration replaces an
 * earlier one.
 */
export interface Registration {
  passwordHash: string;
  username?: string | undefined;
  fullName?: string | null | undefined;
  locale?: string | null | undefined;
}

/**
 * Replaces an earlier registration of the email, in the caller's transaction. Returns false and
 * changes nothing if the user is already verified or in use.
 */
export async function registerAnew(
  ctx: Ctx,
  user: User,
  { passwordHash, username, fullName = null, locale = null }: Registration,
): Promise<boolean> {
  const wantedUsername = username ?? derivedUsername(user.email);
  const set = { passwordHash, wantedUsername, fullName, locale, updatedAt: ctx.now() };
  const isTarget = and(eq(users.id, user.id), isNeverVerified);
  const changed = await ctx.db.update(users).set(set).where(isTarget).returning({ id: users.id });
  return changed.length > 0;
}

/**
 * Registered while verification was required, and never verified: nobody has signed in or changed
 * the user.
 */
const isNeverVerified = and(
  isNotNull(users.wantedUsername),
  not(users.emailVerified),
  not(users.isSuperuser),
  sql`not exists (select 1 from ${sessions} where ${sessions.userId} = ${users.id})`,
);
const derivedUsername = (email: string) => usernamesFrom(localPartOf(email)).next().value?.shown;

/**
 * Drops the profile that a registration set, in the caller's transaction: the owner of the email
 * may be another person.
 */
export async function forgetRegistration(ctx: Ctx, { id, email }: User): Promise<void> {
  const wantedUsername = derivedUsername(email);
  const set = { fullName: null, locale: null, wantedUsername, updatedAt: ctx.now() };
  await ctx.db
    .update(users)
    .set(set)
    .where(and(eq(users.id, id), isNeverVerified));
}

const UNVERIFIED_MS = 7 * 86_400_000;
const PURGED_AT_ONCE = 500;

/**
 * Deletes users that were never verified, a week after the last registration of the email; at most
 * 500 at once. Returns how many.
 */
export async function purgeUnverified(ctx: Ctx): Promise<number> {
  if (ctx.config.requireEmailVerification === "off") return 0;
  const isOld = lt(users.updatedAt, new Date(ctx.now().getTime() - UNVERIFIED_MS));
  return transaction(ctx, async (tx) => {
    const old = tx.db
      .select({ id: users.id })
      .from(users)
      .where(and(isNeverVerified, isOld))
      .limit(PURGED_AT_ONCE)
      .for("update", { skipLocked: true });
    const purged = await tx.db
      .delete(users)
      .where(isInBatch(users.id, old))
      .returning({ id: users.id });
    const deleted = purged.map(({ id }) => ({
      type: "user.deleted" as const,
      subjectId: id,
      data: {},
    }));
    if (deleted.length === 0) return 0;
    await record(tx, { kind: "operator" }, deleted);
    await eraseUsers(
      tx,
      purged.map(({ id }) => id),
    );
    return purged.length;
  });
}
