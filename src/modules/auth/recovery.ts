import type { Ctx, Stranger } from "../../ctx.ts";
import { transact } from "../../db/db.ts";
import { forgetRegistration } from "../addresses/addresses.ts";
import { redeemLink } from "../one-time/one-time.ts";
import { newHash, replaceHash, tellOfNewPassword } from "../passwords/passwords.ts";
import { openLink } from "./links.ts";
import { prove } from "./verification.ts";

/**
 * Sets a new password by a mailed link, and ends every session: the account is of whoever reads its mail. Throws
 * `invalid_link`, `invalid_request`, `too_many_requests`, `busy`.
 */
export async function resetPassword(
  ctx: Pick<
    Ctx,
    "config" | "db" | "envelope" | "fingerprint" | "hashing" | "limits" | "now" | "principals"
  >,
  actor: Stranger,
  { token, password }: { token: string; password: string },
): Promise<void> {
  const { link, user } = await openLink(ctx, actor, { purposes: ["reset_password"], token });
  const passwordHash = await newHash(ctx, "/password", { user, password });
  await transact(ctx.db, async (tx) => {
    const within = { ...ctx, db: tx };
    await redeemLink(within, link, { token, password });
    await replaceHash(within, actor, { userId: user.id, passwordHash, which: "all" });
    await forgetRegistration(within, user);
    await prove(within, actor, user);
    await tellOfNewPassword(within, { ...user, emailVerified: true });
  });
  ctx.principals.forget(user.id);
}
