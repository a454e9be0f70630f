import { and, eq, gt, inArray } from "drizzle-orm";
import type { Ctx } from "../../ctx.ts";
import { transaction } from "../../db/transaction.ts";
import { MINUTE_MS, type Purpose } from "./purposes.ts";
import { mailedLinks } from "./tables.ts";

/** The form that spent a link. */
export interface RedeemedForm {
  token: string;
  password?: string | undefined;
  intent?: string | undefined;
}

interface Redemption {
  purpose: Purpose;
  userId: string;
}

/** For a minute, in the transaction that spends the link. */
export async function keepRedemption(
  ctx: Ctx,
  { userId, purpose }: Redemption,
  form: RedeemedForm,
): Promise<void> {
  const now = ctx.now();
  const { tokenMac, formMac } = macsOf(ctx, form);
  await ctx.db.insert(mailedLinks).values({
    id: Bun.randomUUIDv7("hex", now),
    userId,
    purpose: REDEEMED + purpose,
    createdAt: now,
    hash: tokenMac,
    codeMac: formMac,
    expiresAt: new Date(now.getTime() + REDEMPTION_MS),
  });
}

/** Long enough for a second click, and for a request that a proxy or browser repeats. */
const REDEMPTION_MS = MINUTE_MS;

/**
 * Finds what a form did when it is sent twice. Another form ends this: it may guess the password.
 */
export async function findRedemption(
  ctx: Ctx,
  purposes: readonly Purpose[],
  form: RedeemedForm,
): Promise<Redemption | undefined> {
  const { id, hash, codeMac, purpose, userId, expiresAt } = mailedLinks;
  const { tokenMac, formMac } = macsOf(ctx, form);
  const isOfPage = inArray(
    purpose,
    purposes.map((one) => REDEEMED + one),
  );
  return transaction(ctx, async (tx) => {
    const [found] = await tx.db
      .select({ id, codeMac, purpose, userId })
      .from(mailedLinks)
      .where(and(eq(hash, tokenMac), isOfPage, gt(expiresAt, ctx.now())))
      // Of many concurrent guesses, only the first one is compared.
      .for("update");
    if (!found) return undefined;
    if (!found.codeMac?.equals(formMac)) {
      await tx.db.delete(mailedLinks).where(eq(id, found.id));
      return undefined;
    }
    return { userId: found.userId, purpose: found.purpose.slice(REDEEMED.length) as Purpose };
  });
}

/** The prefix of the purpose of these rows. No lookup of links matches it. */
const REDEEMED = "redeemed ";

function macsOf({ fingerprint }: Ctx, form: RedeemedForm) {
  const { token, password = null, intent = null } = form;
  const mac = (...fields: (string | null)[]) => fingerprint(JSON.stringify(fields));
  return {
    tokenMac: mac("redeemed link", token),
    formMac: mac("redeemed form", token, password, intent),
  };
}
