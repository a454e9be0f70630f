import { and, eq } from "drizzle-orm";
import type { Ctx, Stranger, User } from "../../ctx.ts";
import { users } from "../../db/schema.ts";
import { DAY, type Spending, spendingsOf } from "../../kit/limits.ts";
import { Problem } from "../../kit/problem.ts";
import { findByCode, redeemLink } from "../one-time/one-time.ts";
import { findCredentials } from "../passwords/passwords.ts";
import { identifierKeyOf, userColumns } from "../users/users.ts";
import { type SignIn, tokenFor } from "./auth.ts";
import { openLink, requestLink } from "./links.ts";
import { proveAnew } from "./recovery.ts";
import { beginSession } from "./sign-in.ts";

/** Asks for a mail to sign in by, alike for every address. Throws `email_sign_in_off`, `too_many_requests`. */
export async function requestSignIn(
  ctx: Pick<Ctx, "config" | "db" | "limits" | "now">,
  actor: Stranger,
  email: string,
): Promise<void> {
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
  ctx: Pick<
    Ctx,
    | "config"
    | "db"
    | "devices"
    | "envelope"
    | "fingerprint"
    | "limits"
    | "now"
    | "principals"
    | "tokens"
  >,
  actor: Stranger,
  proof: MailedProof,
): Promise<SignIn> {
  requireOn(ctx);
  const { linkId, user } = await ("token" in proof
    ? openSignIn(ctx, actor, proof.token)
    : matchCode(ctx, actor, proof));
  const device = ctx.devices.read(actor.origin?.deviceToken ?? "");
  const isKnown = device?.userId === user.id;
  const started = await ctx.db.transaction(async (tx) => {
    const within = { ...ctx, db: tx };
    await redeemLink(within, linkId);
    // Locked: whoever switches the account off meanwhile waits, and ends this session too.
    const isIt = and(eq(users.id, user.id), users.isActive);
    const [still] = await tx.select(userColumns).from(users).where(isIt).for("update");
    if (!still) throw new Problem("account_inactive");
    await proveAnew(within, actor, still);
    return beginSession(within, actor, { user: still, isKnown });
  });
  ctx.principals.forget(user.id);
  const deviceToken = isKnown ? (actor.origin?.deviceToken ?? "") : ctx.devices.sign(user.id);
  return { token: await tokenFor(ctx, started), deviceToken };
}

function requireOn({ config }: Pick<Ctx, "config">): void {
  if (config.emailSignIn === "off") throw new Problem("email_sign_in_off");
}

interface Found {
  linkId: string;
  user: User;
}

async function openSignIn(
  ctx: Pick<Ctx, "db" | "limits" | "now">,
  actor: Stranger,
  token: string,
): Promise<Found> {
  const { link, user } = await openLink(ctx, actor, { purposes: ["sign_in"], token });
  return { linkId: link.id, user };
}

/** A million guesses would find a code: so there are few for each address, whether or not somebody has it, and for each code. */
async function matchCode(
  ctx: Pick<Ctx, "db" | "fingerprint" | "limits" | "now">,
  { origin }: Stranger,
  { email, code }: { email: string; code: string },
): Promise<Found> {
  const spendings: Spending[] = [
    { limit: "email-code", who: identifierKeyOf(email), keptSeconds: DAY },
    ...spendingsOf("login-address", origin),
  ];
  await ctx.limits.spend(origin, spendings);
  const user = email.includes("@") ? await findCredentials(ctx, email) : undefined;
  const linkId = await findByCode(ctx, user?.id, code.replaceAll(/\s/g, ""));
  if (!user || !linkId) throw new Problem("invalid_code");
  return { linkId, user };
}
