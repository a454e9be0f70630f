import type { Anonymous, Ctx } from "../../ctx.ts";
import { transaction } from "../../db/transaction.ts";
import { redeemLink } from "../links/links.ts";
import { hashNewPassword, notifyNewPassword, replaceHash } from "../passwords/passwords.ts";
import { redeemRegistration } from "../registration/registration.ts";
import { openLink } from "./open-link.ts";
import { completeVerification } from "./verification.ts";

/**
 * Sets a new password by a mailed link, verifies the email, and ends every session. Throws
 * `invalid_link`, `invalid_request`, `too_many_requests`, `busy`.
 */
export async function resetPassword(
  ctx: Ctx,
  actor: Anonymous,
  form: { token: string; password: string },
): Promise<void> {
  const { token, password } = form;
  const opened = await openLink(ctx, actor, { purposes: ["reset_password"], token });
  const { registration } = opened;
  if (registration) {
    const { email } = registration;
    const user = { email, username: "", fullName: null };
    const passwordHash = await hashNewPassword(ctx, "/password", { user, password });
    const redeemed = { registration, form, isOwn: false, passwordHash };
    return transaction(ctx, (tx) => redeemRegistration(tx, actor, redeemed));
  }
  const { link, user } = opened;
  // Not compared with the old password: a refusal would tell the link's reader what it is.
  const passwordHash = await hashNewPassword(ctx, "/password", { user, password });
  await transaction(ctx, async (tx) => {
    await redeemLink(tx, link, form);
    await replaceHash(tx, actor, { userId: user.id, passwordHash, which: "all" });
    await completeVerification(tx, actor, user);
    await notifyNewPassword(tx, { ...user, emailVerified: true });
  });
}
