import { asc, inArray, sql } from "drizzle-orm";
import type { Anonymous, Ctx, User } from "../../ctx.ts";
import { tryHoldUser } from "../../db/locks.ts";
import { transaction } from "../../db/transaction.ts";
import { emailKeyOf } from "../../kit/names.ts";
import { mailUse, usesOf } from "../../limits/policies.ts";
import { forgotPage, sendLink } from "../links/links.ts";
import type { Purpose } from "../links/purposes.ts";
import { mailRequests } from "../links/tables.ts";
import { enqueueMail } from "../mail/mail.ts";
import { findByEmail } from "../passwords/passwords.ts";
import { mailFirstLink, mailLinkAgain, REGISTRATION } from "../registration/registration.ts";
import { findKnownDevice } from "../sessions/sessions.ts";
import { findUser, identifierKeyOf } from "../users/users.ts";

/** As many users as one browser keeps device tokens of (`http/device`). */
const DEVICE_USERS_MAX = 8;

export type MailRequest =
  | { purpose: "verify_email" | "reset_password" | "sign_in"; email: string }
  /** The user whose email is to change. */
  | { purpose: "change_email"; email: string; userId: string };

/**
 * A job later looks up the email: the time reveals nothing (CWE-208). Throws `too_many_requests`.
 */
export async function requestLink(
  ctx: Ctx,
  actor: Pick<Anonymous, "origin">,
  request: MailRequest,
): Promise<void> {
  const { origin } = actor;
  const { purpose, email } = request;
  const userId = request.purpose === "change_email" ? request.userId : null;
  const knownUserId = userId ? undefined : await findKnownUserId(ctx, actor, email);
  await ctx.limits.consume(origin, [
    mailUse(purpose, knownUserId ? `known device ${knownUserId}` : identifierKeyOf(email)),
    ...(userId ? [mailUse(purpose, userId)] : []),
    ...usesOf("mail-address", origin),
  ]);
  const now = ctx.now();
  const id = Bun.randomUUIDv7("hex", now);
  const traceParent = ctx.tracing.traceParent();
  const isFromKnownDevice = knownUserId !== undefined;
  const row = { id, purpose, email, userId, isFromKnownDevice, traceParent, createdAt: now };
  await transaction(ctx, (tx) => tx.db.insert(mailRequests).values(row));
}

/**
 * The user with this email, if the client is their known device. Reads only the users of its device
 * tokens: the time must not reveal another user (CWE-208).
 */
async function findKnownUserId(
  ctx: Ctx,
  actor: Pick<Anonymous, "origin">,
  email: string,
): Promise<string | undefined> {
  const tokens = actor.origin?.deviceTokens ?? [];
  const ids = new Set(tokens.flatMap((token) => ctx.devices.read(token)?.userId ?? []));
  for (const id of [...ids].slice(0, DEVICE_USERS_MAX)) {
    const user = await findUser(ctx, id);
    if (!user || emailKeyOf(user.email) !== emailKeyOf(email)) continue;
    if (findKnownDevice(ctx, actor, user)) return id;
  }
  return undefined;
}

const ANSWERED_AT_ONCE = 20;
const ANSWER = { name: "answer link request" };

/**
 * Returns how many requests it handled. One for a user who is being deleted waits for the next run:
 * the deletion may wait for the request's row, so waiting for the deletion would be a deadlock.
 */
export async function answerLinkRequests(ctx: Ctx): Promise<number> {
  // Raw SQL, because this query runs every second while there is nothing to do.
  const pending = await ctx.db.execute(sql`select 1 from ${mailRequests} limit 1`);
  if (pending.length === 0) return 0;
  return transaction(ctx, async (tx) => {
    const due = await tx.db
      .select()
      .from(mailRequests)
      .orderBy(asc(mailRequests.createdAt))
      .limit(ANSWERED_AT_ONCE)
      .for("update", { skipLocked: true });
    const done: string[] = [];
    for (const request of due) {
      const work = () => answer(tx, request);
      if (await ctx.tracing.resume(ANSWER, request.traceParent, work)) done.push(request.id);
    }
    if (done.length > 0) await tx.db.delete(mailRequests).where(inArray(mailRequests.id, done));
    return done.length;
  });
}

/** Returns false if the request must be retried. */
async function answer(
  ctx: Ctx,
  { id, purpose, email, userId, isFromKnownDevice }: typeof mailRequests.$inferSelect,
): Promise<boolean> {
  const existing = await findByEmail(ctx, email);
  if (purpose === REGISTRATION) return answerRegistration(ctx, { id, existing });
  if (userId !== null) return answerChange(ctx, { email, userId, existing });
  if (!existing) await mailRegistrationLink(ctx, { purpose, email });
  if (!existing?.isActive || (purpose === "verify_email" && existing.emailVerified)) return true;
  if (!(await tryHoldUser(ctx.db, existing.id))) return false;
  await sendLink(ctx, { purpose: purpose as Purpose, user: existing, isFromKnownDevice });
  return true;
}

/** Mails the link of the registration, or notifies the user who has the email. */
async function answerRegistration(
  ctx: Ctx,
  { id, existing }: { id: string; existing: User | undefined },
): Promise<boolean> {
  if (!existing) await mailFirstLink(ctx, id);
  if (!existing?.isActive) return true;
  if (!(await tryHoldUser(ctx.db, existing.id))) return false;
  if (!existing.emailVerified) await sendLink(ctx, { purpose: "verify_email", user: existing });
  else
    await enqueueMail(ctx, { kind: "registration_attempt", to: existing, link: forgotPage(ctx) });
  return true;
}

/** Nobody can sign in by mail before the email is verified: then a verification link is mailed. */
const mailRegistrationLink = (
  ctx: Ctx,
  { purpose, email }: { purpose: string; email: string },
): Promise<void> =>
  mailLinkAgain(ctx, {
    email,
    purpose: purpose === "reset_password" ? purpose : "verify_email",
  });

interface Change {
  email: string;
  userId: string;
  /** The user who has that email already. */
  existing: User | undefined;
}

async function answerChange(ctx: Ctx, { email, userId, existing }: Change): Promise<boolean> {
  const user = await findUser(ctx, userId);
  if (!user?.isActive) return true;
  if (!(await tryHoldUser(ctx.db, userId))) return false;
  // A user who never verified this email loses it to a user who does.
  if (!existing?.emailVerified || existing.id === userId)
    await sendLink(ctx, { purpose: "change_email", user, to: email, newEmail: email });
  else if (existing.isActive) await enqueueMail(ctx, { kind: "address_taken", to: existing });
  return true;
}
