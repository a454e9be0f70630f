import { and, eq, gt } from "drizzle-orm";
import type { Ctx } from "../../ctx.ts";
import { oneTimeSecrets } from "../../db/schema.ts";
import { MINUTE_MS, type Purpose } from "./purposes.ts";

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
/** Long enough for a second click, and for a request that a proxy or browser repeats. */
const REDEMPTION_MS = MINUTE_MS;
/** Begins the purpose of such a row, so that no look-up takes it for a link. */
const REDEEMED = "redeemed ";
const redemptionMac = ({ fingerprint }: Pick<Ctx, "fingerprint">, form: RedeemedForm): Buffer => {
  const { token, password = null, intent = null } = form;
  return fingerprint(JSON.stringify(["redeemed link", token, password, intent]));
};

/** Records the form for a minute. Call it in the transaction that spends the link. */
export async function keepRedemption(
  ctx: Pick<Ctx, "db" | "fingerprint" | "now">,
  { userId, purpose }: Redemption,
  form: RedeemedForm,
): Promise<void> {
  const now = ctx.now();
  await ctx.db.insert(oneTimeSecrets).values({
    ...{ id: Bun.randomUUIDv7("hex", now), userId, purpose: REDEEMED + purpose, createdAt: now },
    ...{ hash: redemptionMac(ctx, form), expiresAt: new Date(now.getTime() + REDEMPTION_MS) },
  });
}

/** Finds what the same form did in the last minute: a second copy must not get `invalid_link`. */
export async function findRedemption(
  ctx: Pick<Ctx, "db" | "fingerprint" | "now">,
  form: RedeemedForm,
): Promise<Redemption | undefined> {
  const { hash, purpose, userId, expiresAt } = oneTimeSecrets;
  const [found] = await ctx.db
    .select({ purpose, userId })
    .from(oneTimeSecrets)
    .where(and(eq(hash, redemptionMac(ctx, form)), gt(expiresAt, ctx.now())));
  if (!found) return undefined;
  return { userId: found.userId, purpose: found.purpose.slice(REDEEMED.length) as Purpose };
}
