import { NO_PASSWORD } from "../../credentials/password.ts";
import type { Anonymous, Ctx, User, UserActor } from "../../ctx.ts";
import { transaction } from "../../db/transaction.ts";
import { Problem } from "../../kit/problem.ts";
import { failuresOf, type LimitUse } from "../../limits/policies.ts";
import { forgetRegistration, markVerified } from "../addresses/addresses.ts";
import { endLinks, type Link, redeemLink } from "../one-time/one-time.ts";
import { holdVerified, replaceHash, verifyOwn } from "../passwords/passwords.ts";
import { identifierKeyOf } from "../users/users.ts";
import { takeAddress } from "./address.ts";
import { succeed } from "./attempt.ts";
import { openLink } from "./links.ts";

export interface Verification {
  token: string;
  password?: string | undefined;
  /** Who is signed in where the link was opened. */
  holder?: UserActor | undefined;
}

/** The links by which an address is proven: that of a new account, or the next one of an account. */
export const verifications = ["verify_email", "change_email"] as const;

/**
 * Takes an address for proven. Whoever registered it may be somebody else, who knows the password (pre-hijacking; Sudhodanan
 * and Paverd, 2022): so the link alone drops that password and ends every session, and the owner sets another one by a reset.
 * Whoever shows the password, or is signed in to the account, keeps both. A new address of an account is taken only by them.
 * Throws `invalid_link`, `invalid_credentials`, `email_taken`, `too_many_requests`, `busy`.
 */
export async function verifyEmail(
  ctx: Ctx,
  actor: Anonymous,
  { token, password, holder }: Verification,
): Promise<void> {
  const { link, user } = await openLink(ctx, actor, { purposes: verifications, token });
  const verified =
    password === undefined ? undefined : await verifyByLink(ctx, actor, { link, user, password });
  const isTheirs = password !== undefined || holder?.user.id === user.id;
  const isChange = link.purpose === "change_email";
  if (isChange && !isTheirs) throw new Problem("invalid_credentials");
  await transaction(ctx, async (tx) => {
    await redeemLink(tx, link, { token, password });
    // While it was hashed somebody may have registered the address anew, with a password of their own.
    if (verified !== undefined) await holdVerified(tx.db, { id: user.id, passwordHash: verified });
    if (isChange) await takeAddress(tx, actor, { link, user });
    else if (isTheirs) await prove(tx, actor, user);
    else await proveByMailAlone(tx, actor, user);
  });
}

interface LinkPassword {
  link: Link;
  user: User;
  password: string;
}

/**
 * Returns the hash that was verified. A link to a new email may have gone to another person, who must not guess the password by it: each
 * try counts as a sign-in does. A link to the email that the user has counts by itself, because whoever reads that mail can reset the
 * password, and guesses made before the registration must not lock its owner out.
 */
async function verifyByLink(
  ctx: Ctx,
  { origin }: Anonymous,
  { link, user, password }: LinkPassword,
): Promise<string> {
  const own: LimitUse = { limit: "login", who: `${user.id} by link` };
  const isOther = link.purpose === "change_email";
  const identifierKey = identifierKeyOf(user.email);
  const uses = isOther ? [own, ...failuresOf(identifierKey)] : [own];
  const verified = await verifyOwn(ctx, origin, { userId: user.id, password, uses });
  if (isOther) await succeed(ctx, { identifierKey, device: undefined });
  return verified;
}

/** The `intent` of the form that calls `disown`. */
export const DISOWN = "disown";

/**
 * Says that it was not oneself: nobody can sign in any more to an account that was registered, and the address is not taken
 * for proven; one that an account wants stays without it. Throws `invalid_link`, `too_many_requests`.
 */
export async function disown(ctx: Ctx, actor: Anonymous, token: string): Promise<void> {
  const { link, user } = await openLink(ctx, actor, { purposes: verifications, token });
  await transaction(ctx, async (tx) => {
    await redeemLink(tx, link, { token, intent: DISOWN });
    if (link.purpose === "verify_email") await dropPassword(tx, actor, user);
  });
}

/** The address is proven, in the caller's transaction, by somebody who has the account. */
export async function prove(ctx: Ctx, actor: Anonymous, { id }: User): Promise<void> {
  await markVerified(ctx, actor, id);
  await endLinks(ctx, id, "verify_email");
}

/**
 * The address is proven, in the caller's transaction, by whoever reads its mail, and who need not be who registered it: where it was not
 * proven before, nothing of theirs is good any more.
 */
export async function proveByMailAlone(ctx: Ctx, actor: Anonymous, user: User): Promise<void> {
  if (!user.emailVerified) {
    await dropPassword(ctx, actor, user);
    await forgetRegistration(ctx, user);
  }
  await prove(ctx, actor, user);
}

const dropPassword = (ctx: Ctx, actor: Anonymous, { id: userId }: User): Promise<void> =>
  replaceHash(ctx, actor, { userId, passwordHash: NO_PASSWORD, which: "all" });
