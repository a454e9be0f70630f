import { and, eq } from "drizzle-orm";
import type { WebhookSecrets } from "../../credentials/webhook-secret.ts";
import type { Ctx } from "../../ctx.ts";
import { webhooks } from "./tables.ts";

type Row = typeof webhooks.$inferSelect;
type Encrypting = Pick<Ctx, "webhookEncryption">;

/** All secrets have one name: a new webhook has no id yet, and a rotation moves them. */
const NAME = "webhook secret";

export const encryptSecret = ({ webhookEncryption }: Encrypting, secret: string): Buffer =>
  webhookEncryption.encrypt(NAME, [secret]);

const decryptSecret = ({ webhookEncryption }: Encrypting, encrypted: Buffer | null) =>
  encrypted ? (webhookEncryption.decrypt(NAME, encrypted) as [string] | undefined)?.[0] : undefined;

/** The secrets that sign now. Undefined if they were encrypted with an unknown SECRET_KEY. */
export function secretsOf(
  ctx: Encrypting & Pick<Ctx, "now">,
  { encryptedSecret, encryptedPreviousSecret, previousSecretUntil }: Row,
): WebhookSecrets | undefined {
  const current = decryptSecret(ctx, encryptedSecret);
  if (current === undefined) return undefined;
  const isOverlap = previousSecretUntil !== null && previousSecretUntil > ctx.now();
  const previous = isOverlap ? decryptSecret(ctx, encryptedPreviousSecret) : undefined;
  return previous === undefined ? [current] : [current, previous];
}

/**
 * Encrypts secrets with the present SECRET_KEY, so that an earlier one can leave SECRET_KEYS.
 * Returns 0: a second run would find nothing to do.
 */
export async function reencryptSecrets(ctx: Ctx): Promise<number> {
  for (const row of await ctx.db.select().from(webhooks)) {
    const { encryptedSecret, encryptedPreviousSecret: previous } = row;
    const current = decryptSecret(ctx, encryptedSecret);
    if (current === undefined || ctx.webhookEncryption.isCurrent(NAME, encryptedSecret)) continue;
    const previousSecret = decryptSecret(ctx, previous);
    await ctx.db
      .update(webhooks)
      .set({
        encryptedSecret: encryptSecret(ctx, current),
        encryptedPreviousSecret:
          previousSecret === undefined ? null : encryptSecret(ctx, previousSecret),
      })
      // Not if it was rotated meanwhile.
      .where(and(eq(webhooks.id, row.id), eq(webhooks.encryptedSecret, encryptedSecret)));
  }
  return 0;
}
