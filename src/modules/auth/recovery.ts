import { asc, inArray, sql } from "drizzle-orm";
import type { Ctx, SignedIn, Stranger, User } from "../../ctx.ts";
import { mailRequests } from "../../db/schema.ts";
import { DAY, type Spending, spendingsOf } from "../../kit/limits.ts";
import { NO_PASSWORD, verifyPassword } from "../../kit/password.ts";
import { Problem } from "../../kit/problem.ts";
import { enqueueMail } from "../mail/mail.ts";
import {
  endLinks,
  forgotPage,
  type Purpose,
  readLink,
  redeemLink,
  sendLink,
} from "../one-time/one-time.ts";
import { findCredentials, newHash, replaceHash } from "../passwords/passwords.ts";
import { findUser, identifierKeyOf, markVerified } from "../users/users.ts";

/**
 * Asks for a mailed link. Whether anybody has that address is found out later, by a job: so this does the same for every
 * address, and tells nothing by its time (CWE-208). Throws `too_many_requests`, alike for every address.
 */
export async function requestLink(
  ctx: Pick<Ctx, "db" | "limits" | "now">,
  actor: Stranger,
  { purpose, email }: { purpose: Purpose; email: string },
): Promise<void> {
  const spendings: Spending[] = [
    { limit: "mail-account", who: identifierKeyOf(email), keptSeconds: DAY },
    ...spendingsOf("mail-address", actor.origin),
  ];
  await ctx.limits.spend(actor.origin, spendings);
  const now = ctx.now();
  const id = Bun.randomUUIDv7("hex", now);
  await ctx.db.insert(mailRequests).values({ id, purpose, email, createdAt: now });
}

const ANSWERED_AT_ONCE = 20;

/** Mails the links that were asked for, where the address has an account that is on. Answers how many were looked at. */
export async function answerLinkRequests(
  ctx: Pick<Ctx, "config" | "db" | "envelope" | "now">,
): Promise<number> {
  // By hand, because it is asked each second for as long as there is nothing to do.
  const asked = await ctx.db.execute(sql`select 1 from ${mailRequests} limit 1`);
  if (asked.length === 0) return 0;
  return ctx.db.transaction(async (tx) => {
    const within = { ...ctx, db: tx };
    const due = tx
      .select({ id: mailRequests.id })
      .from(mailRequests)
      .orderBy(asc(mailRequests.createdAt))
      .limit(ANSWERED_AT_ONCE)
      .for("update", { skipLocked: true });
    const taken = await tx.delete(mailRequests).where(inArray(mailRequests.id, due)).returning();
    for (const { purpose, email } of taken) {
      const user = email.includes("@") ? await findCredentials(within, email) : undefined;
      const isDone = purpose === "verify_email" && user?.emailVerified;
      if (user?.isActive && !isDone) await sendLink(within, purpose as Purpose, user);
    }
    return taken.length;
  });
}

/**
 * Sets a new password by a mailed link, and ends every session: the account is of whoever reads its mail. Throws
 * `invalid_link`, `invalid_request`, `too_many_requests`, `busy`.
 */
export async function resetPassword(
  ctx: Pick<Ctx, "config" | "db" | "envelope" | "hashing" | "limits" | "now" | "principals">,
  actor: Stranger,
  { token, password }: { token: string; password: string },
): Promise<void> {
  const user = await openLink(ctx, actor, { purpose: "reset_password", token });
  const passwordHash = await newHash(ctx, "/password", { user, password });
  await ctx.db.transaction(async (tx) => {
    const within = { ...ctx, db: tx };
    await redeemLink(within, "reset_password", token);
    await takeOver(within, actor, { user, passwordHash });
    if (!user.emailVerified) await markVerified(within, actor, user.id);
    await enqueueMail(within, { kind: "password_changed", to: user, link: forgotPage(ctx) });
  });
  ctx.principals.forget(user.id);
}

export interface Verification {
  token: string;
  password?: string | undefined;
  /** Who is signed in where the link was opened. */
  holder?: SignedIn | undefined;
}

/**
 * Takes an address for proven. Whoever registered it may be somebody else, who knows the password (pre-hijacking; Sudhodanan
 * and Paverd, 2022): so the link alone drops that password and ends every session, and the owner sets another one by a reset.
 * Whoever shows the password, or is signed in to the account, keeps both. Throws `invalid_link`, `invalid_credentials`,
 * `too_many_requests`, `busy`.
 */
export async function verifyEmail(
  ctx: Pick<Ctx, "config" | "db" | "envelope" | "hashing" | "limits" | "now" | "principals">,
  actor: Stranger,
  { token, password, holder }: Verification,
): Promise<void> {
  const user = await openLink(ctx, actor, { purpose: "verify_email", token });
  const isTheirs =
    holder?.user.id === user.id || (await isPasswordOf(ctx, actor, { user, password }));
  await ctx.db.transaction(async (tx) => {
    const within = { ...ctx, db: tx };
    await redeemLink(within, "verify_email", token);
    if (!isTheirs && !user.emailVerified)
      await takeOver(within, actor, { user, passwordHash: NO_PASSWORD });
    await markVerified(within, actor, user.id);
    await endLinks(within, user.id, "verify_email");
  });
  ctx.principals.forget(user.id);
}

/** Says that one did not register: nobody can sign in any more, and the address is not taken for proven. Throws `invalid_link`, `too_many_requests`. */
export async function disownAccount(
  ctx: Pick<Ctx, "db" | "limits" | "now" | "principals">,
  actor: Stranger,
  token: string,
): Promise<void> {
  const user = await openLink(ctx, actor, { purpose: "verify_email", token });
  await ctx.db.transaction(async (tx) => {
    const within = { ...ctx, db: tx };
    await redeemLink(within, "verify_email", token);
    await takeOver(within, actor, { user, passwordHash: NO_PASSWORD });
  });
  ctx.principals.forget(user.id);
}

/** Whose link this is, without spending it. A stranger who tries made-up ones is counted. Throws `invalid_link`, `too_many_requests`. */
export async function openLink(
  ctx: Pick<Ctx, "db" | "limits" | "now">,
  { origin }: Stranger,
  { purpose, token }: { purpose: Purpose; token: string },
): Promise<User> {
  await ctx.limits.spend(origin, spendingsOf("requests-stranger", origin));
  const user = await findUser(ctx, await readLink(ctx, purpose, token));
  if (!user) throw new Problem("invalid_link");
  return user;
}

/** Nothing of whoever had the account before is good any more. */
async function takeOver(
  ctx: Pick<Ctx, "db" | "limits" | "now">,
  actor: Stranger,
  { user, passwordHash }: { user: User; passwordHash: string },
): Promise<void> {
  await replaceHash(ctx, actor, { userId: user.id, passwordHash, which: "all" });
  await endLinks(ctx, user.id, "reset_password");
}

/** True where the password was shown and is right. Throws `invalid_credentials` where it is wrong. */
async function isPasswordOf(
  ctx: Pick<Ctx, "db" | "hashing" | "limits">,
  { origin }: Stranger,
  { user, password }: { user: User; password: string | undefined },
): Promise<boolean> {
  if (password === undefined) return false;
  ctx.hashing.knock();
  const spendings: Spending[] = [{ limit: "login", who: `${user.id} by link` }];
  return ctx.limits.attempt(origin, spendings, async () => {
    const found = await findCredentials(ctx, user.email);
    const isRight = await verifyPassword(ctx.hashing, { password, hash: found?.passwordHash });
    if (!isRight) throw new Problem("invalid_credentials");
    return true;
  });
}
