import { setTimeout as sleep } from "node:timers/promises";
import { and, eq } from "drizzle-orm";
import type { Anonymous, Ctx, User } from "../../ctx.ts";
import { transaction } from "../../db/transaction.ts";
import { Problem } from "../../kit/problem.ts";
import { type LimitUse, usesOf } from "../../limits/policies.ts";
import type { SignIn } from "../auth/auth.ts";
import { type Link, redeemLink, tryCode } from "../links/links.ts";
import { findByEmail } from "../passwords/passwords.ts";
import {
  beginSession,
  findKnownDevice,
  issueToken,
  type KnownDevice,
} from "../sessions/sessions.ts";
import { userColumns, users } from "../users/tables.ts";
import { identifierKeyOf } from "../users/users.ts";
import { openUserLink } from "./open-link.ts";
import { requestLink } from "./requests.ts";
import { verifyWithoutPassword } from "./verification.ts";

/** Same for every email (CWE-204). Throws `email_sign_in_off`, `too_many_requests`. */
export async function requestSignIn(ctx: Ctx, actor: Anonymous, email: string): Promise<void> {
  requireEnabled(ctx);
  await requestLink(ctx, actor, { purpose: "sign_in", email });
}

export type MailedCredential = { token: string } | { email: string; code: string };

/**
 * Signs a user in by a mailed link or code. This also verifies the email. If it was unverified, the
 * password and the sessions of the person who registered it are dropped. Throws
 * `email_sign_in_off`, `invalid_link`, `invalid_code`, `account_inactive`, `too_many_requests`.
 */
export async function signInByMail(
  ctx: Ctx,
  actor: Anonymous,
  credential: MailedCredential,
): Promise<SignIn> {
  requireEnabled(ctx);
  const { link, user } = await ("token" in credential
    ? openUserLink(ctx, actor, { purposes: ["sign_in"], token: credential.token })
    : matchCode(ctx, actor, credential));
  const started = await transaction(ctx, async (tx) => {
    await redeemLink(tx, link, "token" in credential ? credential : undefined);
    // A concurrent deactivation waits for the lock, and then ends this session too.
    const isTarget = and(eq(users.id, user.id), users.isActive);
    const [current] = await tx.db
      .select(userColumns)
      .from(users)
      .where(isTarget)
      .for("no key update");
    if (!current) throw new Problem("account_inactive");
    await verifyWithoutPassword(tx, actor, current);
    const device = current.emailVerified ? findKnownDevice(ctx, actor, current) : undefined;
    return { ...(await beginSession(tx, actor, { user: current, device })), device };
  });
  const deviceToken = started.device?.token ?? ctx.devices.sign(user.id, ctx.now());
  return { token: await issueToken(ctx, started), deviceToken };
}

function requireEnabled({ config }: Ctx): void {
  if (config.emailSignIn === "off") throw new Problem("email_sign_in_off");
}

const TRY_MIN_MS = 10;

/**
 * A code has a million values: tries are limited for each code, and for each email, used or not.
 */
async function matchCode(
  ctx: Ctx,
  actor: Anonymous,
  { email, code }: { email: string; code: string },
): Promise<{ link: Pick<Link, "id" | "userId">; user: User }> {
  const user = await findByEmail(ctx, email);
  const device = findKnownDevice(ctx, actor, user);
  const uses = codeUses(actor, { email, device });
  await ctx.limits.consume(actor.origin, uses);
  const trying = tryCode(ctx, {
    userId: user?.id,
    code: code.replaceAll(/\s/g, ""),
    isKnownDevice: device !== undefined,
  });
  // Counting a try writes a row. The minimum time hides whether there was one (CWE-208).
  const [link] = await Promise.all([trying, sleep(TRY_MIN_MS)]);
  if (!user || !link) throw new Problem("invalid_code");
  return { link, user };
}

/** A known device counts by itself, so that other clients' guesses do not block it. */
function codeUses(
  { origin }: Anonymous,
  { email, device }: { email: string; device: KnownDevice | undefined },
): LimitUse[] {
  const who = device ? `device ${device.id}` : identifierKeyOf(email);
  const byClientIp = device ? [] : usesOf("login-address", origin);
  return [{ limit: "email-code", who }, ...byClientIp];
}
