import { asc, inArray, sql } from "drizzle-orm";
import type { Ctx, SignedIn, Stranger, User } from "../../ctx.ts";
import { mailRequests } from "../../db/schema.ts";
import { spendingsOf } from "../../kit/limits.ts";
import { Problem } from "../../kit/problem.ts";
import { enqueueMail } from "../mail/mail.ts";
import { type Link, type Purpose, readLink, sendLink } from "../one-time/one-time.ts";
import { findCredentials } from "../passwords/passwords.ts";
import { findUser, identifierKeyOf } from "../users/users.ts";
import { mailAccount } from "./attempt.ts";

export type MailRequest =
  | { purpose: "verify_email" | "reset_password" | "sign_in"; email: string }
  /** The address is to be that of the actor's account. */
  | { purpose: "change_email"; email: string; of: SignedIn };

/**
 * Asks for a mailed link. Whether anybody has that address is found out later, by a job: so this does the same for every
 * address, and tells nothing by its time (CWE-208). Throws `too_many_requests`, alike for every address.
 */
export async function requestLink(
  ctx: Pick<Ctx, "db" | "limits" | "now">,
  { origin }: Pick<Stranger, "origin">,
  request: MailRequest,
): Promise<void> {
  const { purpose, email } = request;
  const userId = request.purpose === "change_email" ? request.of.user.id : null;
  const whose = [identifierKeyOf(email), ...(userId ? [userId] : [])];
  await ctx.limits.spend(origin, [
    ...whose.map(mailAccount),
    ...spendingsOf("mail-address", origin),
  ]);
  const now = ctx.now();
  const id = Bun.randomUUIDv7("hex", now);
  await ctx.db.insert(mailRequests).values({ id, purpose, email, userId, createdAt: now });
}

type Postman = Pick<Ctx, "config" | "db" | "envelope" | "fingerprint" | "now">;
const ANSWERED_AT_ONCE = 20;

/** Mails the links that were asked for, where the address has an account that is on. Answers how many were looked at. */
export async function answerLinkRequests(ctx: Postman): Promise<number> {
  // By hand, because it is asked each second for as long as there is nothing to do.
  const asked = await ctx.db.execute(sql`select 1 from ${mailRequests} limit 1`);
  if (asked.length === 0) return 0;
  return ctx.db.transaction(async (tx) => {
    const due = tx
      .select({ id: mailRequests.id })
      .from(mailRequests)
      .orderBy(asc(mailRequests.createdAt))
      .limit(ANSWERED_AT_ONCE)
      .for("update", { skipLocked: true });
    const taken = await tx.delete(mailRequests).where(inArray(mailRequests.id, due)).returning();
    for (const request of taken) await answer({ ...ctx, db: tx }, request);
    return taken.length;
  });
}

async function answer(
  ctx: Postman,
  { purpose, email, userId }: typeof mailRequests.$inferSelect,
): Promise<void> {
  const owner = email.includes("@") ? await findCredentials(ctx, email) : undefined;
  if (userId !== null) return answerChange(ctx, { email, userId, owner });
  if (!owner?.isActive || (purpose === "verify_email" && owner.emailVerified)) return;
  await sendLink(ctx, { purpose: purpose as Purpose, user: owner });
}

interface Change {
  email: string;
  userId: string;
  /** Who has that address already. */
  owner: { id: string; email: string; isActive: boolean; locale: string | null } | undefined;
}

async function answerChange(ctx: Postman, { email, userId, owner }: Change): Promise<void> {
  const user = await findUser(ctx, userId);
  if (!user?.isActive) return;
  if (owner === undefined || owner.id === userId)
    return sendLink(ctx, { purpose: "change_email", user, to: email, newEmail: email });
  if (owner.isActive) await enqueueMail(ctx, { kind: "address_taken", to: owner });
}

/** What a link does and whose it is, without spending it. A stranger who tries made-up ones is counted. Throws `invalid_link`, `too_many_requests`. */
export async function openLink(
  ctx: Pick<Ctx, "db" | "limits" | "now">,
  { origin }: Stranger,
  { purposes, token }: { purposes: readonly Purpose[]; token: string },
): Promise<{ link: Link; user: User }> {
  await ctx.limits.spend(origin, spendingsOf("requests-stranger", origin));
  const link = await readLink(ctx, purposes, token);
  const user = await findUser(ctx, link.userId);
  if (!user) throw new Problem("invalid_link");
  return { link, user };
}
