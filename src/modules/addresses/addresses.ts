import { and, eq, isNotNull, lt, ne, not, sql } from "drizzle-orm";
import type { Actor, Ctx, User } from "../../ctx.ts";
import { isInBatch } from "../../db/batch.ts";
import { type Db, transact } from "../../db/db.ts";
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

/** Takes the address of an account for proven, in the caller's transaction; a username that was held back is its own now. */
export async function markVerified(ctx: Ctx, actor: Actor, id: string): Promise<void> {
  const set = { emailVerified: true, updatedAt: ctx.now() };
  const [changed] = await ctx.db
    .update(users)
    .set(set)
    .where(and(eq(users.id, id), not(users.emailVerified)))
    .returning({ wanted: users.wantedUsername });
  if (!changed) return;
  if (changed.wanted !== null) await claimUsername(ctx.db, id, changed.wanted);
  await record(ctx, actor, { type: "email.verified", subjectId: id, data: {} });
  // Guesses at these names from before they were the user's must not lock the user out.
  const user = await findUser(ctx, id);
  if (user) await clearFailures(ctx, user);
}

/**
 * Takes an account for somebody's, in the caller's transaction, though its address is not proven: it gets the username that was held
 * back, and no later registration touches it.
 */
export async function settle(ctx: Ctx, id: string): Promise<void> {
  const [found] = await ctx.db
    .select({ wanted: users.wantedUsername })
    .from(users)
    .where(eq(users.id, id));
  if (found?.wanted) await claimUsername(ctx.db, id, found.wanted);
}

/** Gives an account the username that it was to have, or one like it where somebody has that by now. */
async function claimUsername(db: Db, id: string, wanted: string): Promise<void> {
  const first = { shown: wanted, key: usernameKeyOf(wanted) };
  await withFreeName([first, ...usernamesFrom(wanted)], ({ shown, key }) =>
    transact(db, (tx) =>
      tx
        .update(users)
        .set({ username: shown, usernameKey: key, wantedUsername: null })
        .where(eq(users.id, id)),
    ),
  );
}

/** Reads an email that a link was mailed to. Throws `invalid_request`. */
export const acceptEmail = (email: string) => accept({ email: readEmail(email) }).email;

/**
 * Gives an account another address, not proven yet, in the caller's transaction. Another account that has it and never proved it
 * gives way: whoever wants to keep somebody from an address would only have to register it. Throws `email_taken`.
 */
export async function changeEmail(
  ctx: Ctx,
  actor: Actor,
  { id, email, type }: { id: string; email: Name; type: "email.changed" | "email.restored" },
): Promise<void> {
  const { shown, key } = email;
  const isSquatted = and(eq(users.emailKey, key), not(users.emailVerified), ne(users.id, id));
  // Nobody can have registered it: it cannot be guessed, and `.invalid` is refused (RFC 2606).
  const gone = `user-${crypto.randomUUID()}@displaced.invalid`;
  const displaced = await ctx.db
    .update(users)
    .set({ email: gone, emailKey: gone, updatedAt: ctx.now() })
    .where(isSquatted)
    .returning({ id: users.id });
  // Without an origin: it is none of their business who the owner is.
  for (const { id: subjectId } of displaced)
    await record(ctx, { kind: "stranger" }, { type: "email.changed", subjectId, data: {} });
  const set = { email: shown, emailKey: key, emailVerified: false, updatedAt: ctx.now() };
  await transaction(ctx, (tx) => tx.db.update(users).set(set).where(eq(users.id, id)));
  await record(ctx, actor, { type, subjectId: id, data: {} });
}

/** What somebody said who registers an address that nobody has proven yet: the last one counts. */
export interface Registration {
  passwordHash: string;
  username?: string | undefined;
  fullName?: string | null | undefined;
  locale?: string | null | undefined;
}

/**
 * Puts a registration in the place of an earlier one, in the caller's transaction, and says whether it did: not where somebody may
 * have signed in to the account, because it was made while addresses need not be proven first.
 */
export async function registerAnew(
  ctx: Ctx,
  user: User,
  { passwordHash, username, fullName = null, locale = null }: Registration,
): Promise<boolean> {
  const wantedUsername = username ?? derivedFrom(user.email);
  const set = { passwordHash, wantedUsername, fullName, locale, updatedAt: ctx.now() };
  const isIt = and(eq(users.id, user.id), isNeverProven);
  const changed = await ctx.db.update(users).set(set).where(isIt).returning({ id: users.id });
  return changed.length > 0;
}

/** Registered where addresses must be proven first, and not proven: nobody has ever signed in, or set anything of it. */
const isNeverProven = and(
  isNotNull(users.wantedUsername),
  not(users.emailVerified),
  not(users.isSuperuser),
  sql`not exists (select 1 from ${sessions} where ${sessions.userId} = ${users.id})`,
);
const derivedFrom = (email: string) => usernamesFrom(localPartOf(email)).next().value?.shown;

/** Drops what whoever registered said of themselves, in the caller's transaction: the owner of the address need not be who that was. */
export async function forgetRegistration(ctx: Ctx, { id, email }: User): Promise<void> {
  const wantedUsername = derivedFrom(email);
  const set = { fullName: null, locale: null, wantedUsername, updatedAt: ctx.now() };
  await ctx.db
    .update(users)
    .set(set)
    .where(and(eq(users.id, id), isNeverProven));
}

const UNPROVEN_MS = 7 * 86_400_000;
const PURGED_AT_ONCE = 500;

/** Removes accounts that nobody could ever sign in to, a week after the last registration of the address. Answers how many. */
export async function purgeUnproven(ctx: Ctx): Promise<number> {
  if (ctx.config.requireEmailVerification === "off") return 0;
  const isOld = lt(users.updatedAt, new Date(ctx.now().getTime() - UNPROVEN_MS));
  return transaction(ctx, async (tx) => {
    const old = tx.db
      .select({ id: users.id })
      .from(users)
      .where(and(isNeverProven, isOld))
      .limit(PURGED_AT_ONCE)
      .for("update", { skipLocked: true });
    const purged = await tx.db
      .delete(users)
      .where(isInBatch(users.id, old))
      .returning({ id: users.id });
    const deleted = purged.map(({ id }) => ({
      ...{ type: "user.deleted" as const, subjectId: id, data: {} },
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
