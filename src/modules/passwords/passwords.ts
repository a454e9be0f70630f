import { and, eq, sql } from "drizzle-orm";
import { requireAdministrator } from "../../access.ts";
import {
  hashPassword,
  passwordRules,
  readPassword,
  verifyPassword,
} from "../../credentials/password.ts";
import type { Actor, Ctx, User, UserActor } from "../../ctx.ts";
import { type Db, prepared } from "../../db/db.ts";
import { transaction } from "../../db/transaction.ts";
import { accept, fieldProblem, Problem } from "../../kit/problem.ts";
import { ALL, changeOf, type LimitReport, type LimitUse } from "../../limits/policies.ts";
import { record } from "../events/events.ts";
import { endAccountLinks, forgotPage } from "../links/links.ts";
import { enqueueMail } from "../mail/mail.ts";
import { endSessionsOf, type SessionSelection } from "../sessions/sessions.ts";
import { userColumns, users } from "../users/tables.ts";
import { clearFailures, identifierKeyOf } from "../users/users.ts";

/** Ends every session. Throws `forbidden`, `not_found`, `invalid_request`, `busy`. */
export async function setPassword(
  ctx: Ctx,
  actor: Actor,
  input: { user: User; password: string },
): Promise<void> {
  requireAdministrator(actor);
  const passwordHash = await hashNewPassword(ctx, "/password", input);
  await storeHash(ctx, actor, { user: input.user, passwordHash });
}

/**
 * Changes the caller's password and ends their other sessions (OWASP ASVS 5.0, 6.2.3 and 7.4.3).
 * Returns a new device token, because earlier ones are no longer known. Throws
 * `invalid_credentials`, `invalid_request`, `too_many_requests`, `busy`.
 */
export async function changePassword(
  ctx: Ctx,
  actor: UserActor,
  input: { currentPassword: string; newPassword: string },
): Promise<string> {
  const verified = await verifyCurrentPassword(ctx, actor, input.currentPassword);
  const { currentPassword, newPassword } = input;
  if (newPassword.normalize("NFC") === currentPassword.normalize("NFC")) throw unchangedPassword();
  await ctx.limits.consume(actor.origin, [changeOf(actor.user.id, "password")]);
  const passwordHash = await hashNewPassword(ctx, "/new_password", {
    user: actor.user,
    password: newPassword,
  });
  await storeHash(ctx, actor, { user: actor.user, passwordHash, verified });
  return ctx.devices.sign(actor.user.id, ctx.now());
}

const unchangedPassword = () =>
  new Problem("invalid_request", {
    errors: [fieldProblem("/new_password", "not_allowed", "must differ from the current password")],
  });

const RECENT_SIGN_IN_MS = 10 * 60_000;

/**
 * Requires the password, or a sign-in of the last ten minutes; a refresh is none. Throws
 * `reauthentication_required`, `invalid_credentials`, `too_many_requests`, `busy`.
 */
export async function reauthenticate(
  ctx: Ctx,
  actor: UserActor,
  currentPassword: string | undefined,
): Promise<void> {
  if (currentPassword !== undefined) {
    await verifyCurrentPassword(ctx, actor, currentPassword);
    return;
  }
  const age = ctx.now().getTime() - actor.session.createdAt.getTime();
  if (age > RECENT_SIGN_IN_MS) throw new Problem("reauthentication_required");
}

async function verifyCurrentPassword(
  ctx: Ctx,
  { user, session, origin }: UserActor,
  password: string,
): Promise<string> {
  // A stolen access token must not allow faster guessing than the sign-in does.
  const streak: LimitUse = { limit: "login-streak", who: `session ${session.id}` };
  const uses: LimitUse[] = [{ limit: "login", who: `${user.id} ${session.id}` }, streak];
  const hash = await verifyPasswordOf(ctx, origin, { userId: user.id, password, uses });
  await ctx.limits.refund(ctx.db, [{ ...streak, count: ALL }]);
  return hash;
}

/** Returns the verified hash. Throws `invalid_credentials`, `too_many_requests`, `busy`. */
export function verifyPasswordOf(
  ctx: Ctx,
  report: LimitReport | undefined,
  { userId, password, uses }: { userId: string; password: string; uses: LimitUse[] },
): Promise<string> {
  ctx.hashing.refuseIfFull();
  return ctx.limits.attempt(report, uses, async () => {
    // By id: since the user was read, another user may have taken their name.
    const hash = await findPasswordHash(ctx, userId);
    if (!(await isPasswordOf(ctx, { userId, password, hash })) || !hash)
      throw new Problem("invalid_credentials");
    return hash;
  });
}

/**
 * Takes the same time without a user (CWE-208). An unusable hash is a wrong password. Throws
 * `busy`.
 */
export const isPasswordOf = (
  { hashing, log }: Ctx,
  { userId, ...given }: { userId: string | undefined; password: string; hash: string | undefined },
): Promise<boolean> =>
  verifyPassword(hashing, {
    ...given,
    onFault: (reason) =>
      log.error({ user_id: userId, reason }, "Password hash cannot be verified."),
  });

type NamedUser = Pick<User, "email" | "username" | "fullName">;

/** Throws `invalid_request` at `pointer`, and `busy`. */
export function hashNewPassword(
  { config, hashing }: Ctx,
  pointer: string,
  { user, password }: { user: NamedUser; password: string },
): Promise<string> {
  const names = [user.email, user.username, user.fullName ?? ""];
  const read = readPassword(pointer, password, passwordRules(config, names));
  return hashPassword(hashing, accept({ password: read }).password);
}

interface HashChange {
  user: User;
  passwordHash: string;
  /** The hash that must still be stored: a concurrent change wins. */
  verified?: string;
}

/** A user who changes their own password keeps the current session; all other sessions end. */
async function storeHash(
  ctx: Ctx,
  actor: Actor,
  { user, passwordHash, verified }: HashChange,
): Promise<void> {
  const userId = user.id;
  const isOwn = actor.kind === "user" && actor.user.id === userId;
  const which: SessionSelection = isOwn ? { except: actor.session.id } : "all";
  const isUnchanged = verified === undefined ? undefined : eq(users.passwordHash, verified);
  await transaction(ctx, async (tx) => {
    const isTarget = and(eq(users.id, userId), isUnchanged);
    const locked = await tx.db
      .select({ id: users.id })
      .from(users)
      .where(isTarget)
      .for("no key update");
    if (locked.length === 0)
      throw new Problem(verified === undefined ? "not_found" : "invalid_credentials");
    await replaceHash(tx, actor, { userId, passwordHash, which });
    await notifyNewPassword(tx, user);
  });
}

/** An unverified email gets no mail, because it may belong to another person. */
export async function notifyNewPassword(ctx: Ctx, user: User): Promise<void> {
  if (!user.emailVerified) return;
  await enqueueMail(ctx, { kind: "password_changed", to: user, link: forgotPage(ctx) });
}

/** In the caller's transaction. Also ends mailed links, and the sessions that `which` selects. */
export async function replaceHash(
  ctx: Ctx,
  actor: Actor,
  {
    userId,
    passwordHash,
    which,
  }: { userId: string; passwordHash: string; which: SessionSelection },
): Promise<void> {
  const now = ctx.now();
  // First, because this may wait for a job, which so far waits for no row of this user.
  await endAccountLinks(ctx, userId);
  const [user] = await ctx.db
    .update(users)
    // Devices of another person who knew the old password must no longer be known.
    .set({ passwordHash, updatedAt: now, devicesKnownSince: now })
    .where(eq(users.id, userId))
    .returning({ email: users.email, username: users.username });
  await record(ctx, actor, { type: "password.changed", subjectId: userId, data: {} });
  await endSessionsOf(ctx, actor, { userId, which });
  // Guesses at the old password must not lock the user out of the new one.
  if (user) await clearFailures(ctx, user);
}

const credentialColumns = { ...userColumns, passwordHash: users.passwordHash };
const byEmail = prepared((db) =>
  db
    .select(credentialColumns)
    .from(users)
    .where(eq(users.emailKey, sql.placeholder("key")))
    .prepare("user_by_email"),
);
const byUsername = prepared((db) =>
  db
    .select(credentialColumns)
    .from(users)
    .where(eq(users.usernameKey, sql.placeholder("key")))
    .prepare("user_by_username"),
);

async function findPasswordHash({ db }: Ctx, id: string): Promise<string | undefined> {
  const [found] = await db
    .select({ passwordHash: users.passwordHash })
    .from(users)
    .where(eq(users.id, id));
  return found?.passwordHash;
}

/** A user with the password hash. */
export type Credentials = User & { passwordHash: string };

/**
 * Locks a user in the caller's transaction, and stores the `upgraded` hash if there is one. Throws
 * `invalid_credentials` if the user was deactivated or the password changed while it was verified:
 * that ended all sessions, and this sign-in must not start another. A later change waits for the
 * lock, and ends this session too.
 */
export async function lockIfUnchanged(
  tx: Db,
  { id, passwordHash: verified }: Pick<Credentials, "id" | "passwordHash">,
  upgraded?: string,
): Promise<void> {
  const [user] = await tx
    .select({ id: users.id })
    .from(users)
    .where(and(eq(users.id, id), eq(users.passwordHash, verified), users.isActive))
    .for(upgraded ? "update" : "share");
  if (!user) throw new Problem("invalid_credentials");
  if (upgraded) await tx.update(users).set({ passwordHash: upgraded }).where(eq(users.id, id));
}

/** A text without `@` finds no user. */
export const findByEmail = async (ctx: Ctx, email: string): Promise<Credentials | undefined> =>
  email.includes("@") ? findCredentials(ctx, email) : undefined;

/** A username has no `@`, so a name is never both. */
export async function findCredentials(ctx: Ctx, name: string): Promise<Credentials | undefined> {
  const [found] = name.includes("@")
    ? await byEmail(ctx.db).execute({ key: identifierKeyOf(name) })
    : await byUsername(ctx.db).execute({ key: identifierKeyOf(name) });
  return found;
}
