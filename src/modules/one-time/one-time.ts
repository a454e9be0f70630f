import { randomBytes, randomInt, timingSafeEqual } from "node:crypto";
import { and, desc, eq, gt, inArray, isNull, lt, or, type SQL, sql } from "drizzle-orm";
import type { Ctx, User } from "../../ctx.ts";
import { mailRequests, oneTimeSecrets, users } from "../../db/schema.ts";
import type { MailContent } from "../../kit/mail.ts";
import { Problem } from "../../kit/problem.ts";
import { enqueueMail, type NewMail } from "../mail/mail.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

interface Kind {
  lifetimeMs: number;
  mail: NewMail["kind"];
  /** Where its link leads, and whose own page may stand there instead. */
  page: string;
  redirect?: "verifyEmailUrl" | "resetPasswordUrl" | "signInUrl";
  /** How many of them an account has at most: a newer one ends the oldest. */
  aliveMax: number;
  /** Six digits stand beside the link, and do the same. */
  hasCode?: true;
  /** Good whatever address the account has by then. */
  isUnbound?: true;
}

/** What a mailed link can do. */
const kinds = {
  verify_email: {
    ...{ lifetimeMs: DAY_MS, mail: "verify_email", aliveMax: 3 },
    ...{ page: "/verify-email", redirect: "verifyEmailUrl" },
  },
  reset_password: {
    ...{ lifetimeMs: HOUR_MS, mail: "reset_password", aliveMax: 3 },
    ...{ page: "/reset-password", redirect: "resetPasswordUrl" },
  },
  /** Sent to the new address: proves it, and gives it to the account. */
  change_email: {
    ...{ lifetimeMs: DAY_MS, mail: "change_email", aliveMax: 3 },
    ...{ page: "/verify-email", redirect: "verifyEmailUrl" },
  },
  /** Sent to the old address. A thief who changes it again and again does not get rid of the first one. */
  undo_email: {
    ...{ lifetimeMs: 7 * DAY_MS, mail: "email_changed", aliveMax: 1_000 },
    ...{ page: "/undo-email", isUnbound: true },
  },
  /** One at a time: each code that is alive is a chance to guess one. */
  sign_in: {
    ...{ lifetimeMs: 10 * MINUTE_MS, mail: "sign_in", aliveMax: 1 },
    ...{ page: "/sign-in", redirect: "signInUrl", hasCode: true },
  },
} as const satisfies Record<string, Kind>;
export type Purpose = keyof typeof kinds;
const kindOf = (purpose: Purpose): Kind => kinds[purpose];

type Transaction = Pick<Ctx, "config" | "db" | "envelope" | "fingerprint" | "now">;

export interface NewLink {
  purpose: Purpose;
  user: User;
  /** Whom it is mailed to, where that is not the account's address. */
  to?: string;
  /** The address that it gives to the account. */
  newEmail?: string;
}

/**
 * Mails a link that works once, in the caller's transaction. It is bound to the address that the account has now: another
 * address ends it. Only a hash of it is kept (ASVS 5.0, 6.6.2 and 11.4.1).
 */
export async function sendLink(
  ctx: Transaction,
  { purpose, user, to = user.email, newEmail }: NewLink,
): Promise<void> {
  const now = ctx.now();
  const { lifetimeMs, mail, isUnbound, hasCode } = kindOf(purpose);
  const [id, token] = [Bun.randomUUIDv7("hex", now), newToken()];
  const code = hasCode ? newCode() : undefined;
  await endOldest(ctx, purpose, user.id);
  const { emailKey } = users;
  const bound = sql`(select ${emailKey} from ${users} where ${users.id} = ${user.id})`;
  await ctx.db.insert(oneTimeSecrets).values({
    ...{ id, purpose, newEmail, createdAt: now },
    userId: user.id,
    addressKey: isUnbound ? null : bound,
    hash: hashOf(token),
    codeMac: code === undefined ? null : macOf(ctx, id, code),
    expiresAt: new Date(now.getTime() + lifetimeMs),
  });
  const content: MailContent = { link: `${pageOf(ctx, purpose)}?token=${token}`, code };
  await enqueueMail(ctx, { kind: mail, to: { email: to, locale: user.locale }, ...content });
}

async function endOldest({ db }: Transaction, purpose: Purpose, userId: string): Promise<void> {
  const older = db
    .select({ id: oneTimeSecrets.id })
    .from(oneTimeSecrets)
    .where(isOf(userId, purpose))
    .orderBy(desc(oneTimeSecrets.createdAt))
    .offset(kindOf(purpose).aliveMax - 1);
  await db.delete(oneTimeSecrets).where(inArray(oneTimeSecrets.id, older));
}

const isOf = (userId: string, ...purposes: Purpose[]) =>
  and(eq(oneTimeSecrets.userId, userId), inArray(oneTimeSecrets.purpose, purposes));

const pageOf = ({ config }: Pick<Ctx, "config">, purpose: Purpose): string => {
  const { page, redirect } = kindOf(purpose);
  return (redirect && config[redirect]) ?? config.publicUrl + page;
};

/** Where somebody asks for a new password: what a notice of something suspicious leads to. */
export const forgotPage = ({ config }: Pick<Ctx, "config">): string =>
  `${config.publicUrl}/forgot-password`;

const PREFIX = "ot_";
const SECRET_BYTES = 32;
const newToken = () => PREFIX + randomBytes(SECRET_BYTES).toString("base64url");
/** 256 random bits: a plain hash keeps them. */
const hashOf = (token: string): Buffer =>
  Buffer.from(new Bun.CryptoHasher("sha256").update(token).digest());

const CODE_DIGITS = 6;
const CODE_TRIES_MAX = 5;
const newCode = () => String(randomInt(10 ** CODE_DIGITS)).padStart(CODE_DIGITS, "0");
const macOf = ({ fingerprint }: Pick<Ctx, "fingerprint">, id: string, code: string): Buffer =>
  fingerprint(JSON.stringify(["one-time code", id, code]));

/** A link that is good: not spent, not too old, for one of the purposes, and sent to the address that the account still has. */
export interface Link {
  id: string;
  purpose: Purpose;
  userId: string;
  newEmail: string | null;
}

const isGood = ({ now }: Pick<Ctx, "now">, which: SQL) =>
  and(
    which,
    gt(oneTimeSecrets.expiresAt, now()),
    eq(users.id, oneTimeSecrets.userId),
    or(isNull(oneTimeSecrets.addressKey), eq(users.emailKey, oneTimeSecrets.addressKey)),
  );

/** Finds a link without spending it: mail scanners open links, too. Throws `invalid_link`, alike for every reason. */
export async function readLink(
  ctx: Pick<Ctx, "db" | "now">,
  purposes: readonly Purpose[],
  token: string,
): Promise<Link> {
  const { id, purpose, userId, newEmail } = oneTimeSecrets;
  const which = and(eq(oneTimeSecrets.hash, hashOf(token)), inArray(purpose, purposes)) as SQL;
  const [found] = await ctx.db
    .select({ id, purpose, userId, newEmail })
    .from(oneTimeSecrets)
    .innerJoin(users, eq(users.id, userId))
    .where(isGood(ctx, which));
  if (!found) throw new Problem("invalid_link");
  return { ...found, purpose: found.purpose as Purpose };
}

/**
 * Finds the link beside which a code was mailed, and counts the try before the code is looked at: of many at once no more
 * than five are. Undefined where the code is wrong, or was tried too often; its link stays good.
 */
export async function findByCode(
  ctx: Pick<Ctx, "db" | "fingerprint" | "now">,
  userId: string | undefined,
  code: string,
): Promise<string | undefined> {
  const { id, codeMac, codeTries } = oneTimeSecrets;
  // For nobody's address the same statement runs, and finds nothing.
  const which = isOf(userId ?? NOBODY, "sign_in") as SQL;
  const tried = await ctx.db
    .update(oneTimeSecrets)
    .set({ codeTries: sql`${codeTries} + 1` })
    .where(and(which, lt(codeTries, CODE_TRIES_MAX), gt(oneTimeSecrets.expiresAt, ctx.now())))
    .returning({ id, codeMac });
  return tried.find((one) => one.codeMac && timingSafeEqual(one.codeMac, macOf(ctx, one.id, code)))
    ?.id;
}
const NOBODY = "00000000-0000-0000-0000-000000000000";

/** Spends a link in the transaction that does what it is for; of two at once one finds it gone. Throws `invalid_link`. */
export async function redeemLink(ctx: Pick<Ctx, "db" | "now">, linkId: string): Promise<Link> {
  const { id, purpose, userId, newEmail } = oneTimeSecrets;
  const good = ctx.db
    .select({ id })
    .from(oneTimeSecrets)
    .innerJoin(users, eq(users.id, userId))
    .where(isGood(ctx, eq(id, linkId)));
  const [spent] = await ctx.db
    .delete(oneTimeSecrets)
    .where(and(eq(id, linkId), inArray(id, good)))
    .returning({ id, purpose, userId, newEmail });
  if (!spent) throw new Problem("invalid_link");
  return { ...spent, purpose: spent.purpose as Purpose };
}

/** Ends every link of an account that does one of these, in the caller's transaction. */
export async function endLinks(
  { db }: Pick<Ctx, "db">,
  userId: string,
  ...purposes: Purpose[]
): Promise<void> {
  await db.delete(oneTimeSecrets).where(isOf(userId, ...purposes));
}

/** Ends what whoever had an account could still do with it by mail, in the caller's transaction; also what a job is to mail yet. */
export async function endOpenLinks(ctx: Pick<Ctx, "db">, userId: string): Promise<void> {
  await endLinks(ctx, userId, "reset_password", "change_email", "sign_in");
  await ctx.db.delete(mailRequests).where(eq(mailRequests.userId, userId));
}

/** Ends the links of one kind that an account got after this one, in the caller's transaction. */
export async function endLaterLinks({ db }: Pick<Ctx, "db">, link: Link): Promise<void> {
  // Ids are made in the order of time.
  const isLater = gt(oneTimeSecrets.id, link.id);
  await db.delete(oneTimeSecrets).where(and(isOf(link.userId, link.purpose), isLater));
}

const PURGED_AT_ONCE = 500;

/** Removes links that ran out, a few at a time, past rows that somebody else holds. Answers how many. */
export async function purgeLinks({ db, now }: Pick<Ctx, "db" | "now">): Promise<number> {
  const old = db
    .select({ id: oneTimeSecrets.id })
    .from(oneTimeSecrets)
    .where(lt(oneTimeSecrets.expiresAt, now()))
    .limit(PURGED_AT_ONCE)
    .for("update", { skipLocked: true });
  const purged = await db
    .delete(oneTimeSecrets)
    .where(inArray(oneTimeSecrets.id, old))
    .returning({ id: oneTimeSecrets.id });
  return purged.length;
}
