import { eq, lt } from "drizzle-orm";
import type { Ctx } from "../../ctx.ts";
import { isInBatch } from "../../db/batch.ts";
import { revokedTokens } from "../../db/schema.ts";
import type { ClientClaims } from "../../kit/token.ts";

/** Revokes an OAuth client's own access token: introspection answers `active: false` from now on. */
export async function revokeClientToken(
  { db }: Pick<Ctx, "db">,
  { jti, exp }: Pick<ClientClaims, "jti" | "exp">,
): Promise<void> {
  await db
    .insert(revokedTokens)
    .values({ id: jti, expiresAt: new Date(exp * 1000) })
    .onConflictDoNothing();
}

export async function isRevoked(
  { db }: Pick<Ctx, "db">,
  { jti }: Pick<ClientClaims, "jti">,
): Promise<boolean> {
  return (await db.$count(revokedTokens, eq(revokedTokens.id, jti))) > 0;
}

const PURGED_AT_ONCE = 500;

/** Deletes rows of expired tokens, a few at a time, past rows that another instance has locked. Returns how many. */
export async function purgeRevokedTokens({ db, now }: Pick<Ctx, "db" | "now">): Promise<number> {
  const expired = db
    .select({ id: revokedTokens.id })
    .from(revokedTokens)
    .where(lt(revokedTokens.expiresAt, now()))
    .limit(PURGED_AT_ONCE)
    .for("update", { skipLocked: true });
  const purged = await db
    .delete(revokedTokens)
    .where(isInBatch(revokedTokens.id, expired))
    .returning({ id: revokedTokens.id });
  return purged.length;
}
