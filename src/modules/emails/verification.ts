import { NO_PASSWORD } from "../../credentials/password.ts";
import type { Anonymous, Ctx, User, UserActor } from "../../ctx.ts";
import { transaction } from "../../db/transaction.ts";
import { Problem } from "../../kit/problem.ts";
import { failuresOf, type LimitUse } from "../../limits/policies.ts";
import { refundFailure } from "../auth/auth.ts";
import { endLinks, type Link, redeemLink } from "../links/links.ts";
import type { RedeemedForm } from "../links/redemptions.ts";
import {
  isPasswordOf,
  lockIfUnchanged,
  replaceHash,
  verifyPasswordOf,
} from "../passwords/passwords.ts";
import {
  disownRegistration,
  type Registration,
  redeemRegistration,
} from "../registration/registration.ts";
import { identifierKeyOf } from "../users/users.ts";
import { applyEmailChange } from "./change.ts";
import { markVerified } from "./emails.ts";
import { openLink } from "./open-link.ts";

interface VerificationInput {
  token: string;
  password?: string | undefined;
  /** The user who is signed in where the link was opened. */
  caller?: UserActor | undefined;
}

export const verificationPurposes = ["verify_email", "change_email"] as const;

/**
 * Verifies an email. An attacker may have registered it and know the password (account
 * pre-hijacking; Sudhodanan and Paverd, 2022). So the link alone drops that password and ends every
 * session. A caller who sends the password, or is signed in as the user, keeps both. Only such a
 * caller can change the email of a user. Throws `invalid_link`, `invalid_credentials`,
 * `email_taken`, `too_many_requests`, `busy`.
 */
export async function verifyEmail(
  ctx: Ctx,
  actor: Anonymous,
  { token, password, caller }: VerificationInput,
): Promise<void> {
  const opened = await openLink(ctx, actor, { purposes: verificationPurposes, token });
  const { registration } = opened;
  if (registration)
    return verifyRegistration(ctx, actor, { registration, form: { token, password } });
  const { link, user } = opened;
  const verified =
    password === undefined
      ? undefined
      : await verifyLinkPassword(ctx, actor, { link, user, password });
  const hasAccess = password !== undefined || caller?.user.id === user.id;
  const isChange = link.purpose === "change_email";
  if (isChange && !hasAccess) throw new Problem("invalid_credentials");
  await transaction(ctx, async (tx) => {
    await redeemLink(tx, link, { token, password });
    // The password may have been changed while it was hashed.
    if (verified !== undefined)
      await lockIfUnchanged(tx.db, { id: user.id, passwordHash: verified });
    if (isChange) await applyEmailChange(tx, actor, { link, user });
    else if (hasAccess) await completeVerification(tx, actor, user);
    else await verifyWithoutPassword(tx, actor, user);
  });
}

async function verifyRegistration(
  ctx: Ctx,
  actor: Anonymous,
  { registration, form }: { registration: Registration; form: RedeemedForm },
): Promise<void> {
  const { password } = form;
  const isOwn = password !== undefined;
  if (isOwn) await verifyRegisteredPassword(ctx, actor, { registration, password });
  const passwordHash = (isOwn && registration.passwordHash) || undefined;
  const redeemed = { registration, form, isOwn, passwordHash };
  await transaction(ctx, (tx) => redeemRegistration(tx, actor, redeemed));
}

function verifyRegisteredPassword(
  ctx: Ctx,
  { origin }: Anonymous,
  { registration, password }: { registration: Registration; password: string },
): Promise<void> {
  ctx.hashing.refuseIfFull();
  const uses: LimitUse[] = [{ limit: "login", who: `${registration.id} by link` }];
  return ctx.limits.attempt(origin, uses, async () => {
    const hash = registration.passwordHash ?? undefined;
    if (!(await isPasswordOf(ctx, { userId: undefined, password, hash })))
      throw new Problem("invalid_credentials");
  });
}

interface LinkPassword {
  link: Link;
  user: User;
  password: string;
}

/**
 * Returns the verified hash. A link to a new email may have reached another person, who must not
 * guess the password: each try counts as a sign-in. A link to the current email counts by itself:
 * its reader can reset the password anyway, and earlier guesses must not lock them out.
 */
async function verifyLinkPassword(
  ctx: Ctx,
  { origin }: Anonymous,
  { link, user, password }: LinkPassword,
): Promise<string> {
  const byLink: LimitUse = { limit: "login", who: `${user.id} by link` };
  const isChange = link.purpose === "change_email";
  const identifierKey = identifierKeyOf(user.email);
  const uses = isChange ? [byLink, ...failuresOf(identifierKey)] : [byLink];
  const verified = await verifyPasswordOf(ctx, origin, { userId: user.id, password, uses });
  if (isChange) await refundFailure(ctx, { identifierKey, device: undefined });
  return verified;
}

/** The `intent` of the form that calls `disown`. */
export const DISOWN = "disown";

/**
 * For a recipient who did not request the link. Someone else's registration loses its password and
 * sessions, and a change of email does not happen. Throws `invalid_link`, `too_many_requests`.
 */
export async function disown(ctx: Ctx, actor: Anonymous, token: string): Promise<void> {
  const opened = await openLink(ctx, actor, { purposes: verificationPurposes, token });
  if (opened.registration) return disownRegistration(ctx, opened.registration);
  const { link, user } = opened;
  await transaction(ctx, async (tx) => {
    await redeemLink(tx, link, { token, intent: DISOWN });
    if (link.purpose === "verify_email") await dropPassword(tx, actor, user);
  });
}

/** For a caller who has access to the user. */
export async function completeVerification(
  ctx: Ctx,
  actor: Anonymous,
  { id }: User,
): Promise<void> {
  await markVerified(ctx, actor, id);
  await endLinks(ctx, id, "verify_email");
}

/** For a caller who only reads the mail: another person may have registered an unverified email. */
export async function verifyWithoutPassword(ctx: Ctx, actor: Anonymous, user: User): Promise<void> {
  if (!user.emailVerified) await dropPassword(ctx, actor, user);
  await completeVerification(ctx, actor, user);
}

const dropPassword = (ctx: Ctx, actor: Anonymous, { id: userId }: User): Promise<void> =>
  replaceHash(ctx, actor, { userId, passwordHash: NO_PASSWORD, which: "all" });
