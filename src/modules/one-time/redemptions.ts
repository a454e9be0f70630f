import { and, eq, gt } from "drizzle-orm";
import type { Ctx } from "../../ctx.ts";
import { oneTimeSecrets } from "../../db/schema.ts";
import { MINUTE_MS, type Purpose } from "./purposes.ts";

/** What was sent with a link when it was spent. */
export interface RedeemedForm {
  token: string;
  password?: string | undefined;
  intent?: string | undefined;
}
interface Redemption {
  purpose: Purpose;
  userId: string;
}
/** For a second click, and for a request that a proxy or browser repeats. */
const REDEMPTION_MS = MINUTE_MS;
/** No purpose of a link: no token has this hash. */
const REDEEMED = "redeemed ";
const redemptionMac = ({ fingerprint }: Pick<Ctx, "fingerprint">, form: RedeemedForm): Buffer => {
  const { token, password = null, intent = null } = form;
  return fingerprint(JSON.stringify(["redeemed link", token, password, intent]));
};

/** In the transaction that spends the link. */
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

/** What the same form has done in the last minute: its second copy must not say that the link is not valid. */
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
