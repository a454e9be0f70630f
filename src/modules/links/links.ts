import { randomBytes, randomInt, timingSafeEqual } from "node:crypto";
import { and, desc, eq, gt, inArray, isNull, lt, or, type SQL, sql } from "drizzle-orm";
import type { Ctx, User } from "../../ctx.ts";
import { deleteBatch } from "../../db/batch.ts";
import { lockUsers } from "../../db/locks.ts";
import { transaction } from "../../db/transaction.ts";
import { sha256 } from "../../kit/digest.ts";
import type { MailContent } from "../../kit/mail.ts";
import { emailKeyOf } from "../../kit/names.ts";
import { Problem } from "../../kit/problem.ts";
import { enqueueMail } from "../mail/mail.ts";
import { users } from "../users/tables.ts";
import { kindOf, type Purpose } from "./purposes.ts";
import { keepRedemption, type RedeemedForm } from "./redemptions.ts";
import { mailedLinks, mailRequests } from "./tables.ts";

export interface NewLink {
  purpose: Purpose;
  user: User;
  /** The recipient; by default, the email of the user. */
  to?: string;
  /** The email that the link sets: the new one, or the previous one. */
  newEmail?: string;
  isFromKnownDevice?: boolean;
}

/**
 * Mails a link that works once, in the caller's transaction. A later change of the user's email
 * makes it invalid, except the link that undoes that change.
 */
export async function sendLink(
  ctx: Ctx,
  { purpose, user, to = user.email, newEmail, isFromKnownDevice = false }: NewLink,
): Promise<void> {
  const { isUnbound, hasCode } = kindOf(purpose);
  const { kind, hash, expiresAt, content } = createLink(ctx, purpose);
  const createdAt = ctx.now();
  const id = Bun.randomUUIDv7("hex", createdAt);
  const code = hasCode ? newCode() : undefined;
  const recipient = { id: user.id, email: to, locale: user.locale };
  // If no mail is sent, links that were mailed before must stay valid.
  const message = { kind, to: recipient, isFromKnownDevice, ...content, code };
  if (!(await enqueueMail(ctx, message))) return;
  await endOldest(ctx, purpose, user.id);
  const { emailKey } = users;
  const bound = sql`(select ${emailKey} from ${users} where ${users.id} = ${user.id})`;
  await ctx.db.insert(mailedLinks).values({
    id,
    purpose,
    expiresAt,
    newEmail,
    createdAt,
    userId: user.id,
    addressKey: isUnbound ? null : bound,
    hash,
    codeMac: code === undefined ? null : macOf(ctx, id, code),
  });
}

/** Only the hash of the token is stored (ASVS 5.0, 6.6.2 and 11.4.1). */
export function createLink({ config, now }: Ctx, purpose: Purpose) {
  const { lifetimeMs, mail: kind, page, redirect } = kindOf(purpose);
  const token = PREFIX + randomBytes(SECRET_BYTES).toString("base64url");
  const expiresAt = new Date(now().getTime() + lifetimeMs);
  const url = new URL((redirect && config[redirect]) ?? config.publicUrl + page);
  url.searchParams.set("token", token);
  const content: MailContent = { link: url.href, goodUntil: expiresAt.toISOString() };
  return { kind, hash: sha256(token), expiresAt, content };
}
const PREFIX = "ot_";
const SECRET_BYTES = 32;

async function endOldest({ db }: Ctx, purpose: Purpose, userId: string): Promise<void> {
  const { aliveMax } = kindOf(purpose);
  if (aliveMax === undefined) return;
  const older = db
    .select({ id: mailedLinks.id })
    .from(mailedLinks)
    .where(isOf(userId, purpose))
    .orderBy(desc(mailedLinks.position))
    .offset(aliveMax - 1);
  await db.delete(mailedLinks).where(inArray(mailedLinks.id, older));
}

const isOf = (userId: string, ...purposes: Purpose[]) =>
  and(eq(mailedLinks.userId, userId), inArray(mailedLinks.purpose, purposes));

/** The page that requests a new password, for security notices. */
export const forgotPage = ({ config }: Ctx): string => `${config.publicUrl}/forgot-password`;

const CODE_DIGITS = 6;
const CODE_TRIES_MAX = 5;
/** Other clients can use up five tries. A known device then still has five more. */
const KNOWN_DEVICE_CODE_TRIES_MAX = 10;
const newCode = () => String(randomInt(10 ** CODE_DIGITS)).padStart(CODE_DIGITS, "0");
const macOf = ({ fingerprint }: Ctx, id: string, code: string): Buffer =>
  fingerprint(JSON.stringify(["one-time code", id, code]));

/** A link that is not spent, not expired, and not invalidated by a change of the user's email. */
export interface Link {
  id: string;
  purpose: Purpose;
  userId: string;
  newEmail: string | null;
  position: bigint;
}

const isValid = ({ now }: Ctx, which: SQL) =>
  and(
    which,
    gt(mailedLinks.expiresAt, now()),
    eq(users.id, mailedLinks.userId),
    // Email sign-in itself throws `account_inactive`.
    or(users.isActive, eq(mailedLinks.purpose, "sign_in")),
    or(isNull(mailedLinks.addressKey), eq(users.emailKey, mailedLinks.addressKey)),
  );

/** Finds a link without spending it, because mail scanners open links. Throws `invalid_link`. */
export async function getLink(
  ctx: Ctx,
  purposes: readonly Purpose[],
  token: string,
): Promise<Link> {
  const { id, purpose, userId, newEmail, position } = mailedLinks;
  const which = and(eq(mailedLinks.hash, sha256(token)), inArray(purpose, purposes)) as SQL;
  const [found] = await ctx.db
    .select({ id, purpose, userId, newEmail, position })
    .from(mailedLinks)
    .innerJoin(users, eq(users.id, userId))
    .where(isValid(ctx, which));
  if (!found) throw new Problem("invalid_link");
  return { ...found, purpose: found.purpose as Purpose };
}

export interface CodeTry {
  userId: string | undefined;
  code: string;
  isKnownDevice: boolean;
}

/**
 * Returns undefined if the code is wrong or was tried too often; the link stays valid. Counts each
 * try before comparing, so concurrent tries cannot exceed the maximum. The transaction does not
 * wait for the disk: that wait would reveal whether there is a code (CWE-208).
 */
export async function tryCode(
  ctx: Ctx,
  { userId, code, isKnownDevice }: CodeTry,
): Promise<Pick<Link, "id" | "userId"> | undefined> {
  const { id, codeMac, codeTries } = mailedLinks;
  // For an email without a user, the same statement runs and finds nothing.
  const which = isOf(userId ?? NO_USER_ID, "sign_in") as SQL;
  const triesMax = isKnownDevice ? KNOWN_DEVICE_CODE_TRIES_MAX : CODE_TRIES_MAX;
  const tried = await transaction(ctx, async (tx) => {
    await tx.db.execute(sql`set local synchronous_commit = off`);
    return tx.db
      .update(mailedLinks)
      .set({ codeTries: sql`${codeTries} + 1` })
      .where(and(which, lt(codeTries, triesMax), gt(mailedLinks.expiresAt, ctx.now())))
      .returning({ id, userId: mailedLinks.userId, codeMac });
  });
  return tried.find((one) => one.codeMac && timingSafeEqual(one.codeMac, macOf(ctx, one.id, code)));
}
const NO_USER_ID = "00000000-0000-0000-0000-000000000000";

/**
 * Spends a link, in the transaction that does what the link is for. Of two concurrent calls, one
 * succeeds. Locks the user, and another user who has the email that the link sets. Throws
 * `invalid_link`.
 */
export async function redeemLink(
  ctx: Ctx,
  link: Pick<Link, "id" | "userId"> & Partial<Link>,
  form?: RedeemedForm,
): Promise<void> {
  const { id, userId } = mailedLinks;
  const newEmailKey = emailKeyOf(link.newEmail ?? "") ?? "";
  await lockUsers(ctx.db, or(eq(users.id, link.userId), eq(users.emailKey, newEmailKey)));
  const valid = ctx.db
    .select({ id })
    .from(mailedLinks)
    .innerJoin(users, eq(users.id, userId))
    .where(isValid(ctx, eq(id, link.id)));
  const spent = await ctx.db
    .delete(mailedLinks)
    .where(and(eq(id, link.id), inArray(id, valid)))
    .returning({ id });
  if (spent.length === 0) throw new Problem("invalid_link");
  if (form && link.purpose)
    await keepRedemption(ctx, { userId: link.userId, purpose: link.purpose }, form);
}

export async function endLinks({ db }: Ctx, userId: string, ...purposes: Purpose[]): Promise<void> {
  await db.delete(mailedLinks).where(isOf(userId, ...purposes));
}

/** Ends what could change the user or sign in, in the caller's transaction. */
export async function endAccountLinks(ctx: Ctx, userId: string): Promise<void> {
  await endRequests(ctx, userId);
  await endLinks(ctx, userId, "reset_password", "change_email", "sign_in");
}

/** Drops mail requests that no job has answered yet. */
export async function endRequests({ db }: Ctx, userId: string): Promise<void> {
  await db.delete(mailRequests).where(eq(mailRequests.userId, userId));
}

/** Ends the user's links of the same purpose that were sent after this one. */
export async function endLaterLinks({ db }: Ctx, link: Link): Promise<void> {
  const isLater = gt(mailedLinks.position, link.position);
  await db.delete(mailedLinks).where(and(isOf(link.userId, link.purpose), isLater));
}

export const purgeLinks = ({ db, now }: Ctx): Promise<number> =>
  deleteBatch(db, mailedLinks.id, lt(mailedLinks.expiresAt, now()));
