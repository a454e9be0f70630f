import { and, desc, eq, gt, inArray, isNotNull, isNull, lt, or } from "drizzle-orm";
import { hashPassword, NO_PASSWORD } from "../../credentials/password.ts";
import type { Anonymous, Ctx, User } from "../../ctx.ts";
import { deleteBatch } from "../../db/batch.ts";
import { lockUsers } from "../../db/locks.ts";
import { transaction } from "../../db/transaction.ts";
import { sha256 } from "../../kit/digest.ts";
import { emailKeyOf, localPartOf, usernameKeyOf, usernamesFrom } from "../../kit/names.ts";
import { Problem } from "../../kit/problem.ts";
import { mailUse, usesOf } from "../../limits/policies.ts";
import { record } from "../events/events.ts";
import { createLink } from "../links/links.ts";
import { MINUTE_MS, type Purpose, WEEK_MS } from "../links/purposes.ts";
import { keepRedemption, type RedeemedForm } from "../links/redemptions.ts";
import { mailRequests } from "../links/tables.ts";
import { enqueueMail } from "../mail/mail.ts";
import { users } from "../users/tables.ts";
import { createUser, insertUser, type NewUser, readNewUser } from "../users/users.ts";
import { registrations } from "./tables.ts";

/** A registration whose email is not verified yet. */
export type Registration = typeof registrations.$inferSelect;

export type RegistrationInput = Omit<NewUser, "isSuperuser" | "password" | "verification"> & {
  password: string;
};

/**
 * Registers a user. Returns undefined if the registration waits for its email to be verified
 * (`REQUIRE_EMAIL_VERIFICATION`). Throws `registration_closed`, `too_many_requests`, and what
 * `createUser` throws.
 */
export async function register(
  ctx: Ctx,
  actor: Anonymous,
  input: RegistrationInput,
): Promise<User | undefined> {
  if (isClosed(ctx)) throw new Problem("registration_closed");
  ctx.hashing.refuseIfFull();
  const mustVerify = ctx.config.requireEmailVerification === "on";
  return ctx.limits.attempt(actor.origin, usesOf("register", actor.origin), () =>
    mustVerify
      ? registerUnverified(ctx, actor, input)
      : createUser(ctx, actor, { ...input, verification: "asked" }),
  );
}

/**
 * Reads no user, so it does the same for every email (CWE-204, CWE-208): a job finds out whether a
 * user has it (`answerLinkRequests`). Throws `invalid_request`, `too_many_requests`, `busy`.
 */
async function registerUnverified(
  ctx: Ctx,
  actor: Anonymous,
  input: RegistrationInput,
): Promise<undefined> {
  const { email, username, fullName, locale } = readNewUser(ctx, input);
  // Refunded if the server is busy.
  const uses = [mailUse("verify_email", email.key)];
  return ctx.limits.attempt(actor.origin, uses, async () => {
    const passwordHash = await hashPassword(ctx.hashing, input.password);
    const createdAt = ctx.now();
    const registration = {
      purpose: "verify_email" as const,
      email: email.shown,
      emailKey: email.key,
      username: username?.shown,
      fullName,
      locale,
      passwordHash,
      hash: null,
      createdAt,
      expiresAt: createdAt,
    };
    const traceParent = ctx.tracing.traceParent();
    await transaction(ctx, async (tx) => {
      const id = await insertRegistration(tx, registration);
      const request = { id, purpose: REGISTRATION, email: email.shown, traceParent, createdAt };
      await tx.db.insert(mailRequests).values(request);
    });
    return undefined;
  });
}

/** The purpose of a mail request about a registration. Both have the same id. */
export const REGISTRATION = "registration";

/** The latest rows of an email that are kept: this many without a link, and with each purpose. */
const KEPT_MAX = 10;

async function insertRegistration(
  ctx: Ctx,
  row: Omit<typeof registrations.$inferInsert, "id">,
): Promise<string> {
  const id = Bun.randomUUIDv7("hex", ctx.now());
  await ctx.db.insert(registrations).values({ ...row, id });
  await deleteOldest(ctx, row);
  return id;
}

/**
 * Rows without a link count apart: a registration whose mail is not sent must not end a mailed
 * link. So do purposes: resets must not delete the registration that a sign-in needs.
 */
async function deleteOldest(
  { db }: Ctx,
  row: Pick<typeof registrations.$inferInsert, "emailKey" | "purpose" | "hash">,
): Promise<void> {
  const { id, emailKey, purpose, hash, position } = registrations;
  const isAlike = row.hash ? isNotNull(hash) : isNull(hash);
  const surplus = db
    .select({ id })
    .from(registrations)
    .where(and(eq(emailKey, row.emailKey), eq(purpose, row.purpose), isAlike))
    .orderBy(desc(position))
    .offset(KEPT_MAX);
  await db.delete(registrations).where(inArray(id, surplus));
}

/** Mails a link. Returns what to store of it, or undefined if the email received too many mails. */
async function mailLink(
  ctx: Ctx,
  { purpose, email, locale }: Pick<Registration, "purpose" | "email" | "locale">,
): Promise<Pick<Registration, "hash" | "expiresAt"> | undefined> {
  const { kind, hash, expiresAt, content } = createLink(ctx, purpose);
  const isMailed = await enqueueMail(ctx, { kind, to: { id: null, email, locale }, ...content });
  return isMailed ? { hash, expiresAt } : undefined;
}

/** Mails the link of a registration, in the caller's transaction, unless it is gone. */
export async function mailFirstLink(ctx: Ctx, id: string): Promise<void> {
  const isTarget = eq(registrations.id, id);
  const [found] = await ctx.db.select().from(registrations).where(isTarget).for("update");
  const link = found && (await mailLink(ctx, found));
  if (!link) return;
  await ctx.db.update(registrations).set(link).where(isTarget);
  await deleteOldest(ctx, { ...found, ...link });
}

/** The new row keeps the time of the registration: requests for links do not prolong it. */
export async function mailLinkAgain(
  ctx: Ctx,
  { email, purpose }: Pick<Registration, "email" | "purpose">,
): Promise<void> {
  const latest = await findRegistration(ctx, email);
  const link = latest && (await mailLink(ctx, { ...latest, purpose }));
  if (!link) return;
  const { id, position, ...copied } = latest;
  const nothing = { username: null, fullName: null, passwordHash: null };
  const registered = purpose === "verify_email" ? {} : nothing;
  await insertRegistration(ctx, { ...copied, ...registered, purpose, ...link });
}

const keptFrom = ({ now }: Ctx) => new Date(now().getTime() - WEEK_MS);

/** Nobody can list registrations, so closing registration must also end those that wait. */
const isClosed = ({ config }: Ctx): boolean => config.registration === "closed";

/** The latest registration of an email: only its password is accepted. */
export async function findRegistration(ctx: Ctx, email: string): Promise<Registration | undefined> {
  if (isClosed(ctx)) return undefined;
  const { emailKey, passwordHash, createdAt, position } = registrations;
  const isOfEmail = eq(emailKey, emailKeyOf(email) ?? "");
  const [latest] = await ctx.db
    .select()
    .from(registrations)
    .where(and(isOfEmail, isNotNull(passwordHash), gt(createdAt, keptFrom(ctx))))
    // A concurrent request may insert another link of an earlier registration later.
    .orderBy(desc(createdAt), desc(position))
    .limit(1);
  return latest;
}

/** The registration of a valid link. Does not spend the link. */
export async function findLinkedRegistration(
  ctx: Ctx,
  purposes: readonly Purpose[],
  token: string,
): Promise<Registration | undefined> {
  if (isClosed(ctx)) return undefined;
  const { hash, expiresAt } = registrations;
  const isValid = and(eq(hash, sha256(token)), gt(expiresAt, ctx.now()));
  const [found] = await ctx.db.select().from(registrations).where(isValid);
  return found && purposes.includes(found.purpose) ? found : undefined;
}

/**
 * Makes a registration a user with a verified email, in the transaction that spends the link. If
 * the wanted username is taken, the user gets a similar one. `isOwn`: the reader of the mail sent
 * the registered password. Otherwise an attacker may have registered (account pre-hijacking;
 * Sudhodanan and Paverd, 2022), and the user gets nothing of what was registered. Throws
 * `invalid_link`.
 */
export async function redeemRegistration(
  ctx: Ctx,
  actor: Anonymous,
  { registration, form, isOwn, passwordHash = NO_PASSWORD }: Redeemed,
): Promise<void> {
  const { email, emailKey, purpose } = registration;
  const taken = await lockUsers(ctx.db, eq(users.emailKey, emailKey));
  if (taken.length > 0 || !(await spendRegistration(ctx, registration)))
    throw new Problem("invalid_link");
  const nothing = { email, emailKey, username: null, fullName: null, locale: null };
  const details = { ...(isOwn ? registration : nothing), passwordHash };
  const user = await insertRegistered(ctx, actor, { details, emailVerified: true });
  if (!user) throw new Problem("invalid_link");
  await record(ctx, actor, { type: "email.verified", subjectId: user.id, data: {} });
  await keepRedemption(ctx, { userId: user.id, purpose }, form);
}

interface Redeemed {
  registration: Registration;
  form: RedeemedForm;
  isOwn: boolean;
  /** Undefined: the user has no password until a reset. */
  passwordHash?: string | undefined;
}

/**
 * Makes a registration a user with an unverified email, and mails a verification link: for a
 * sign-in after `REQUIRE_EMAIL_VERIFICATION` was turned off. Returns undefined if the registration
 * is spent, or another user has the email.
 */
export const admitRegistration = (
  ctx: Ctx,
  actor: Anonymous,
  { registration, passwordHash }: { registration: Registration; passwordHash: string },
): Promise<User | undefined> =>
  transaction(ctx, async (tx) => {
    if (!(await spendRegistration(tx, registration))) return undefined;
    const details = { ...registration, passwordHash };
    return insertRegistered(tx, actor, { details, emailVerified: false });
  });

/** Deletes all registrations of an email. Returns whether this one was still there. */
async function spendRegistration({ db }: Ctx, { id, emailKey }: Registration): Promise<boolean> {
  const deleted = await db
    .delete(registrations)
    .where(eq(registrations.emailKey, emailKey))
    .returning({ id: registrations.id });
  return deleted.some((one) => one.id === id);
}

interface Registered {
  details: Pick<Registration, "email" | "emailKey" | "username" | "fullName" | "locale"> & {
    passwordHash: string;
  };
  emailVerified: boolean;
}

function insertRegistered(
  ctx: Ctx,
  actor: Anonymous,
  { details, emailVerified }: Registered,
): Promise<User | undefined> {
  const { email, emailKey, username, fullName, locale, passwordHash } = details;
  const similar = usernamesFrom(username ?? localPartOf(email));
  const names = username
    ? [{ shown: username, key: usernameKeyOf(username) }, ...similar]
    : similar;
  const row = { email, emailKey, fullName, locale, passwordHash, emailVerified };
  return insertUser(ctx, actor, { row, names, isMailed: !emailVerified });
}

/** Drops what was registered. The link stays valid for a minute: a second click succeeds too. */
export async function disownRegistration(
  { db, now }: Ctx,
  { id, emailKey, passwordHash }: Registration,
): Promise<void> {
  const expiresAt = new Date(now().getTime() + MINUTE_MS);
  // The rows of its other links. The salt makes the hash unique to one registration.
  const isCopy = and(
    eq(registrations.emailKey, emailKey),
    eq(registrations.passwordHash, passwordHash ?? ""),
  );
  await db
    .update(registrations)
    .set({ username: null, fullName: null, passwordHash: null, expiresAt })
    .where(or(eq(registrations.id, id), isCopy));
}

/** Deletes a few registrations after a week, and their last links when these expire. */
export const purgeRegistrations = (ctx: Ctx): Promise<number> => {
  const { id, createdAt, expiresAt } = registrations;
  const isOver = and(lt(createdAt, keptFrom(ctx)), lt(expiresAt, ctx.now()));
  return deleteBatch(ctx.db, id, isOver);
};
