import { randomBytes } from "node:crypto";
import { and, desc, eq, gt, inArray, lt, sql } from "drizzle-orm";
import type { Ctx, User } from "../../ctx.ts";
import { oneTimeSecrets, users } from "../../db/schema.ts";
import { Problem } from "../../kit/problem.ts";
import { enqueueMail } from "../mail/mail.ts";

const HOUR_MS = 3_600_000;

/** What a mailed link can do, and for how long. Each has a kind of mail with its name. */
const lifetimes = {
  verify_email: 24 * HOUR_MS,
  reset_password: HOUR_MS,
} as const;
export type Purpose = keyof typeof lifetimes;

const pathOf = { verify_email: "/verify-email", reset_password: "/reset-password" } as const;
/** So many links of one kind an account has at most: a newer one ends the oldest. */
const ALIVE_MAX = 3;

type Transaction = Pick<Ctx, "config" | "db" | "envelope" | "now">;

/**
 * Mails a link that works once, in the caller's transaction. It is bound to the address that the account has now: another
 * address ends it. Only a hash of it is kept (ASVS 5.0, 6.6.2 and 11.4.1).
 */
export async function sendLink(ctx: Transaction, purpose: Purpose, user: User): Promise<void> {
  const now = ctx.now();
  const token = newToken();
  const older = ctx.db
    .select({ id: oneTimeSecrets.id })
    .from(oneTimeSecrets)
    .where(and(eq(oneTimeSecrets.userId, user.id), eq(oneTimeSecrets.purpose, purpose)))
    .orderBy(desc(oneTimeSecrets.createdAt))
    .offset(ALIVE_MAX - 1);
  await ctx.db.delete(oneTimeSecrets).where(inArray(oneTimeSecrets.id, older));
  await ctx.db.insert(oneTimeSecrets).values({
    id: Bun.randomUUIDv7("hex", now),
    purpose,
    userId: user.id,
    addressKey: sql`(select ${users.emailKey} from ${users} where ${users.id} = ${user.id})`,
    hash: hashOf(token),
    createdAt: now,
    expiresAt: new Date(now.getTime() + lifetimes[purpose]),
  });
  const link = `${pageOf(ctx, purpose)}?token=${token}`;
  await enqueueMail(ctx, { kind: purpose, to: user, link });
}

const pageOf = ({ config }: Pick<Ctx, "config">, purpose: Purpose): string => {
  const own = { verify_email: config.verifyEmailUrl, reset_password: config.resetPasswordUrl };
  return own[purpose] ?? config.publicUrl + pathOf[purpose];
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

/** What a link needs to be good for: not spent, not too old, for this, and sent to the address that the account still has. */
const isGood = ({ now }: Pick<Ctx, "now">, purpose: Purpose, token: string) =>
  and(
    eq(oneTimeSecrets.hash, hashOf(token)),
    eq(oneTimeSecrets.purpose, purpose),
    gt(oneTimeSecrets.expiresAt, now()),
    eq(users.id, oneTimeSecrets.userId),
    eq(users.emailKey, oneTimeSecrets.addressKey),
  );

/** Whose link this is, without spending it: mail scanners fetch links, too. Throws `invalid_link`, alike for every reason. */
export async function readLink(
  ctx: Pick<Ctx, "db" | "now">,
  purpose: Purpose,
  token: string,
): Promise<string> {
  const [found] = await ctx.db
    .select({ userId: oneTimeSecrets.userId })
    .from(oneTimeSecrets)
    .innerJoin(users, eq(users.id, oneTimeSecrets.userId))
    .where(isGood(ctx, purpose, token));
  if (!found) throw new Problem("invalid_link");
  return found.userId;
}

/** Spends a link in the transaction that does what it is for; of two at once one finds it gone. Throws `invalid_link`. */
export async function redeemLink(
  ctx: Pick<Ctx, "db" | "now">,
  purpose: Purpose,
  token: string,
): Promise<string> {
  const [spent] = await ctx.db
    .delete(oneTimeSecrets)
    .where(
      and(
        eq(oneTimeSecrets.hash, hashOf(token)),
        inArray(
          oneTimeSecrets.id,
          ctx.db
            .select({ id: oneTimeSecrets.id })
            .from(oneTimeSecrets)
            .innerJoin(users, eq(users.id, oneTimeSecrets.userId))
            .where(isGood(ctx, purpose, token)),
        ),
      ),
    )
    .returning({ userId: oneTimeSecrets.userId });
  if (!spent) throw new Problem("invalid_link");
  return spent.userId;
}

/** Ends every link of an account that does this, in the caller's transaction. */
export async function endLinks(
  { db }: Pick<Ctx, "db">,
  userId: string,
  purpose: Purpose,
): Promise<void> {
  await db
    .delete(oneTimeSecrets)
    .where(and(eq(oneTimeSecrets.userId, userId), eq(oneTimeSecrets.purpose, purpose)));
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
