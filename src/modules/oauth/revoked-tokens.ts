import { eq, lt } from "drizzle-orm";
import type { ClientClaims } from "../../credentials/access-token.ts";
import type { Ctx } from "../../ctx.ts";
import { deleteBatch } from "../../db/batch.ts";
import { revokedTokens } from "./tables.ts";

/** Only this token: a client revokes one when one of several processes stops. */
export async function revokeClientToken(
  { db }: Ctx,
  { jti, exp }: Pick<ClientClaims, "jti" | "exp">,
): Promise<void> {
  await db
    .insert(revokedTokens)
    .values({ id: jti, expiresAt: new Date(exp * 1000) })
    .onConflictDoNothing();
}

export async function isRevoked({ db }: Ctx, { jti }: Pick<ClientClaims, "jti">): Promise<boolean> {
  return (await db.$count(revokedTokens, eq(revokedTokens.id, jti))) > 0;
}

export const purgeRevokedTokens = ({ db, now }: Ctx): Promise<number> =>
  deleteBatch(db, revokedTokens.id, lt(revokedTokens.expiresAt, now()));
