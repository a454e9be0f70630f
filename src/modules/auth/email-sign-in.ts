import { setTimeout as sleep } from "node:timers/promises";
import { and, eq } from "drizzle-orm";
import type { Anonymous, Ctx, User } from "../../ctx.ts";
import { transaction } from "../../db/transaction.ts";
import { Problem } from "../../kit/problem.ts";
import { type LimitUse, usesOf } from "../../limits/policies.ts";
import { type Link, redeemLink, tryCode } from "../one-time/one-time.ts";
import { findByEmail } from "../passwords/passwords.ts";
import { users } from "../users/tables.ts";
import { identifierKeyOf, userColumns } from "../users/users.ts";
import { type KnownDevice, knownDevice } from "./attempt.ts";
import { type SignIn, tokenFor } from "./auth.ts";
import { openLink, requestLink } from "./links.ts";
import { beginSession } from "./session-start.ts";
import { proveByMailAlone } from "./verification.ts";

/** Asks for a mail to sign in by, alike for every address. Throws `email_sign_in_off`, `too_many_requests`. */
export async function requestSignIn(ctx: Ctx, actor: Anonymous, email: string): Promise<void> {
  requireOn(ctx);
  await requestLink(ctx, actor, { purpose: "sign_in", email });
}

export type MailedProof = { token: string } | { email: string; code: string };

/**
 * Signs in whoever reads the mail of an account: by its link, or by the code beside it. That proves the address as well; and
 * if it was not proven before, drops the password and the sessions of whoever registered it. Throws `email_sign_in_off`, `invalid_link`,
 * `invalid_code`, `account_inactive`, `too_many_requests`.
 */
export async function signInByMail(
  ctx: Ctx,
  actor: Anonymous,
  proof: MailedProof,
): Promise<SignIn> {
  requireOn(ctx);
  const { link, user } = await ("token" in proof
    ? openLink(ctx, actor, { purposes: ["sign_in"], token: proof.token })
    : matchCode(ctx, actor, proof));
  const started = await transaction(ctx, async (tx) => {
    await redeemLink(tx, link, "token" in proof ? proof : undefined);
    // Locked: whoever switches the account off meanwhile waits, and ends this session too.
    const isIt = and(eq(users.id, user.id), users.isActive);
    const [still] = await tx.db.select(userColumns).from(users).where(isIt).for("no key update");
    if (!still) throw new Problem("account_inactive");
    await proveByMailAlone(tx, actor, still);
    const device = still.emailVerified ? knownDevice(ctx, actor, still) : undefined;
    return { ...(await beginSession(tx, actor, { user: still, device })), device };
  });
  const deviceToken = started.device?.token ?? ctx.devices.sign(user.id, ctx.now());
  return { token: await tokenFor(ctx, started), deviceToken };
}

function requireOn({ config }: Ctx): void {
  if (config.emailSignIn === "off") throw new Problem("email_sign_in_off");
}

const TRY_MIN_MS = 10;

/** A million guesses would find a code: so there are few for each address, whether or not somebody has it, and for each code. */
async function matchCode(
  ctx: Ctx,
  actor: Anonymous,
  { email, code }: { email: string; code: string },
): Promise<{ link: Pick<Link, "id" | "userId">; user: User }> {
  const user = await findByEmail(ctx, email);
  const device = knownDevice(ctx, actor, user);
  const uses = codeSpendings(actor, { email, device });
  await ctx.limits.consume(actor.origin, uses);
  const trying = tryCode(ctx, {
    ...{ userId: user?.id, code: code.replaceAll(/\s/g, "") },
    isKnownDevice: device !== undefined,
  });
  // To count a try is to write a row: no clock may tell whether there was one (CWE-208).
  const [link] = await Promise.all([trying, sleep(TRY_MIN_MS)]);
  if (!user || !link) throw new Problem("invalid_code");
  return { link, user };
}

/** A known client counts by itself, so that nobody else's guesses keep it from its code. */
function codeSpendings(
  { origin }: Anonymous,
  { email, device }: { email: string; device: KnownDevice | undefined },
): LimitUse[] {
  const who = device ? `device ${device.id}` : identifierKeyOf(email);
  const byAddress = device ? [] : usesOf("login-address", origin);
  return [{ limit: "email-code", who }, ...byAddress];
}
