import type { Ctx, SignedIn, Stranger, User } from "../../ctx.ts";
import type { Spending } from "../../kit/limits.ts";
import { NO_PASSWORD, verifyPassword } from "../../kit/password.ts";
import { Problem } from "../../kit/problem.ts";
import { enqueueMail } from "../mail/mail.ts";
import { endLinks, forgotPage, redeemLink } from "../one-time/one-time.ts";
import { findCredentials, newHash, replaceHash } from "../passwords/passwords.ts";
import { markVerified } from "../users/users.ts";
import { takeAddress } from "./address.ts";
import { openLink } from "./links.ts";

/**
 * Sets a new password by a mailed link, and ends every session: the account is of whoever reads its mail. Throws
 * `invalid_link`, `invalid_request`, `too_many_requests`, `busy`.
 */
export async function resetPassword(
  ctx: Pick<Ctx, "config" | "db" | "envelope" | "hashing" | "limits" | "now" | "principals">,
  actor: Stranger,
  { token, password }: { token: string; password: string },
): Promise<void> {
  const { link, user } = await openLink(ctx, actor, { purposes: ["reset_password"], token });
  const passwordHash = await newHash(ctx, "/password", { user, password });
  await ctx.db.transaction(async (tx) => {
    const within = { ...ctx, db: tx };
    await redeemLink(within, link.id);
    await replaceHash(within, actor, { userId: user.id, passwordHash, which: "all" });
    await prove(within, actor, user);
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

/** The links by which an address is proven: that of a new account, or the next one of an account. */
export const verifications = ["verify_email", "change_email"] as const;

/**
 * Takes an address for proven. Whoever registered it may be somebody else, who knows the password (pre-hijacking; Sudhodanan
 * and Paverd, 2022): so the link alone drops that password and ends every session, and the owner sets another one by a reset.
 * Whoever shows the password, or is signed in to the account, keeps both. A new address of an account is taken only by them.
 * Throws `invalid_link`, `invalid_credentials`, `email_taken`, `too_many_requests`, `busy`.
 */
export async function verifyEmail(
  ctx: Pick<
    Ctx,
    "config" | "db" | "envelope" | "fingerprint" | "hashing" | "limits" | "now" | "principals"
  >,
  actor: Stranger,
  { token, password, holder }: Verification,
): Promise<void> {
  const { link, user } = await openLink(ctx, actor, { purposes: verifications, token });
  const isTheirs =
    holder?.user.id === user.id || (await isPasswordOf(ctx, actor, { user, password }));
  const isChange = link.purpose === "change_email";
  if (isChange && !isTheirs) throw new Problem("invalid_credentials");
  await ctx.db.transaction(async (tx) => {
    const within = { ...ctx, db: tx };
    await redeemLink(within, link.id);
    if (isChange) await takeAddress(within, actor, { link, user });
    else if (isTheirs) await prove(within, actor, user);
    else await proveAnew(within, actor, user);
  });
  ctx.principals.forget(user.id);
}

/**
 * Says that it was not oneself: nobody can sign in any more to an account that was registered, and the address is not taken
 * for proven; one that an account wants stays without it. Throws `invalid_link`, `too_many_requests`.
 */
export async function disown(
  ctx: Pick<Ctx, "db" | "limits" | "now" | "principals">,
  actor: Stranger,
  token: string,
): Promise<void> {
  const { link, user } = await openLink(ctx, actor, { purposes: verifications, token });
  await ctx.db.transaction(async (tx) => {
    const within = { ...ctx, db: tx };
    await redeemLink(within, link.id);
    if (link.purpose === "verify_email") await dropPassword(within, actor, user);
  });
  ctx.principals.forget(user.id);
}

type Transaction = Pick<Ctx, "db" | "limits" | "now">;

/** The address is proven by somebody who has the account. */
async function prove(ctx: Transaction, actor: Stranger, { id }: User): Promise<void> {
  await markVerified(ctx, actor, id);
  await endLinks(ctx, id, "verify_email");
}

/** The address is proven by somebody who need not be who registered it: if it was not proven before, nothing of theirs is good any more. */
export async function proveAnew(ctx: Transaction, actor: Stranger, user: User): Promise<void> {
  if (!user.emailVerified) await dropPassword(ctx, actor, user);
  await prove(ctx, actor, user);
}

const dropPassword = (ctx: Transaction, actor: Stranger, { id: userId }: User): Promise<void> =>
  replaceHash(ctx, actor, { userId, passwordHash: NO_PASSWORD, which: "all" });

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
