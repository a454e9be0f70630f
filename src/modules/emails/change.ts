import { NO_PASSWORD } from "../../credentials/password.ts";
import type { Anonymous, Ctx, User, UserActor } from "../../ctx.ts";
import { transaction } from "../../db/transaction.ts";
import { readEmail, readNewEmail } from "../../kit/names.ts";
import { accept, fieldProblem, Problem } from "../../kit/problem.ts";
import { endLaterLinks, type Link, redeemLink, sendLink } from "../links/links.ts";
import { enqueueMail } from "../mail/mail.ts";
import { reauthenticate, replaceHash } from "../passwords/passwords.ts";
import { identifierKeyOf } from "../users/users.ts";
import { changeEmail, markVerified } from "./emails.ts";
import { openUserLink } from "./open-link.ts";
import { requestLink } from "./requests.ts";

/**
 * Mails a link that makes the change to the new email. If another user has that email, only they
 * are notified (CWE-204). Throws `reauthentication_required`, `invalid_credentials`,
 * `invalid_request`, `too_many_requests`, `busy`.
 */
export async function requestEmailChange(
  ctx: Ctx,
  actor: UserActor,
  input: { email: string; currentPassword: string | undefined },
): Promise<void> {
  const { shown, key } = accept({ email: readNewEmail(input.email, ctx.config) }).email;
  if (key === identifierKeyOf(actor.user.email)) throw unchangedEmail();
  await reauthenticate(ctx, actor, input.currentPassword);
  await requestLink(ctx, actor, { purpose: "change_email", email: shown, userId: actor.user.id });
}

const unchangedEmail = () =>
  new Problem("invalid_request", {
    errors: [fieldProblem("/email", "not_allowed", "is already your email")],
  });

/**
 * In the transaction that spends the link. A verified previous email gets a link that undoes this
 * for a week; an unverified one may belong to another person. Throws `email_taken`.
 */
export async function applyEmailChange(
  ctx: Ctx,
  actor: Anonymous,
  { link, user }: { link: Link; user: User },
): Promise<void> {
  if (user.emailVerified)
    await sendLink(ctx, { purpose: "undo_email", user, newEmail: user.email });
  const { email } = accept({ email: readEmail(emailOf(link)) });
  await changeEmail(ctx, actor, { id: user.id, email, type: "email.changed" });
  await markVerified(ctx, actor, user.id);
}

/**
 * Restores the email that a user had before a change. Drops the password, ends every session, and
 * mails a reset link to the restored email. Links that undo later changes become invalid. Throws
 * `invalid_link`, `email_taken`, `too_many_requests`.
 */
export async function restoreEmail(ctx: Ctx, actor: Anonymous, token: string): Promise<void> {
  const { link, user } = await openUserLink(ctx, actor, { purposes: ["undo_email"], token });
  const email = emailOf(link);
  await transaction(ctx, async (tx) => {
    await redeemLink(tx, link, { token });
    const passwordHash = NO_PASSWORD;
    await replaceHash(tx, actor, { userId: user.id, passwordHash, which: "all" });
    await endLaterLinks(tx, link);
    // Not validated again: an older version may have accepted it by other rules.
    const previous = { shown: email, key: identifierKeyOf(email) };
    await changeEmail(tx, actor, { id: user.id, email: previous, type: "email.restored" });
    await markVerified(tx, actor, user.id);
    await sendLink(tx, { purpose: "reset_password", user: { ...user, email } });
    // The reader of the replaced email may be the owner, without access to the old mailbox.
    if (user.emailVerified) await enqueueMail(tx, { kind: "email_restored", to: user });
  });
}

function emailOf({ newEmail, purpose }: Link): string {
  if (newEmail === null) throw new Error(`a link of the kind ${purpose} has no email`);
  return newEmail;
}
