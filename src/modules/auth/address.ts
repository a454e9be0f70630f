import { NO_PASSWORD } from "../../credentials/password.ts";
import type { Anonymous, Ctx, User, UserActor } from "../../ctx.ts";
import { transaction } from "../../db/transaction.ts";
import { readNewEmail } from "../../kit/names.ts";
import { accept, fieldProblem, Problem } from "../../kit/problem.ts";
import { acceptEmail, changeEmail, markVerified } from "../addresses/addresses.ts";
import { enqueueMail } from "../mail/mail.ts";
import { endLaterLinks, type Link, redeemLink, sendLink } from "../one-time/one-time.ts";
import { confirm, replaceHash } from "../passwords/passwords.ts";
import { identifierKeyOf } from "../users/users.ts";
import { openLink, requestLink } from "./links.ts";

/**
 * Asks for another address: a link that is mailed there makes it the account's. Whether somebody else has it is told to its
 * owner, by mail, and not here. Throws `reauthentication_required`, `invalid_credentials`, `invalid_request`,
 * `too_many_requests`, `busy`.
 */
export async function requestAddressChange(
  ctx: Ctx,
  actor: UserActor,
  input: { email: string; currentPassword: string | undefined },
): Promise<void> {
  const { shown, key } = accept({ email: readNewEmail(input.email, ctx.config) }).email;
  if (key === identifierKeyOf(actor.user.email)) throw alreadyTheirs();
  await confirm(ctx, actor, input.currentPassword);
  await requestLink(ctx, actor, { purpose: "change_email", email: shown, userId: actor.user.id });
}

const alreadyTheirs = () =>
  new Problem("invalid_request", {
    errors: [fieldProblem("/email", "not_allowed", "is the account's address already")],
  });

/**
 * Gives the account the address that its link was mailed to, in the transaction that spends it. Who had the proven one before can
 * take the account back for a week; one that was never proven may be somebody else's, by a slip of the pen. Throws `email_taken`.
 */
export async function takeAddress(
  ctx: Ctx,
  actor: Anonymous,
  { link, user }: { link: Link; user: User },
): Promise<void> {
  if (user.emailVerified)
    await sendLink(ctx, { purpose: "undo_email", user, givesEmail: user.email });
  const email = acceptEmail(emailOf(link));
  await changeEmail(ctx, actor, { id: user.id, email, type: "email.changed" });
  await markVerified(ctx, actor, user.id);
}

/**
 * Takes an account back to the address that it had: whoever changed it is out and knows no password any more, and a link to
 * choose one goes to its owner. What undoes later changes is good no more, and the address that it had last is told. Throws `invalid_link`, `email_taken`, `too_many_requests`.
 */
export async function restoreAddress(ctx: Ctx, actor: Anonymous, token: string): Promise<void> {
  const { link, user } = await openLink(ctx, actor, { purposes: ["undo_email"], token });
  const email = emailOf(link);
  await transaction(ctx, async (tx) => {
    await redeemLink(tx, link, { token });
    const passwordHash = NO_PASSWORD;
    await replaceHash(tx, actor, { userId: user.id, passwordHash, which: "all" });
    await endLaterLinks(tx, link);
    // Not read once more: it was this user's email before, maybe by the rules of an older version.
    const before = { shown: email, key: identifierKeyOf(email) };
    await changeEmail(tx, actor, { id: user.id, email: before, type: "email.restored" });
    await markVerified(tx, actor, user.id);
    await sendLink(tx, { purpose: "reset_password", user: { ...user, email } });
    // Who has only this address may be the owner, and that old mailbox no longer hers.
    if (user.emailVerified) await enqueueMail(tx, { kind: "email_restored", to: user });
  });
}

function emailOf({ givesEmail, purpose }: Link): string {
  if (givesEmail === null) throw new Error(`a link of the kind ${purpose} has no address`);
  return givesEmail;
}
