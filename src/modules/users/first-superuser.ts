import { sql } from "drizzle-orm";
import type { Actor, Ctx, User } from "../../ctx.ts";
import { advisoryLocks } from "../../db/locks.ts";
import { transaction } from "../../db/transaction.ts";
import { users } from "./tables.ts";
import { createUser } from "./users.ts";

/**
 * Creates the configured superuser if there is none. Of several instances, only one does. Throws
 * `email_taken`: an anonymous caller who registered the email must not become superuser.
 */
export async function createFirstSuperuser(
  ctx: Ctx,
  actor: Actor,
  input: { email: string; password: string },
): Promise<User | undefined> {
  return transaction(ctx, async (tx) => {
    await tx.db.execute(sql`select pg_advisory_xact_lock(${advisoryLocks.firstSuperuser})`);
    if (await hasSuperuser(tx)) return undefined;
    return createUser(tx, actor, {
      ...input,
      isSuperuser: true,
      verification: "known",
    });
  });
}

export async function hasSuperuser(ctx: Ctx): Promise<boolean> {
  // Raw SQL: every start waits for this query, and Drizzle's first takes a tenth of that time.
  const found = await ctx.db.execute(
    sql`select 1 from ${users} where ${users.isSuperuser} limit 1`,
  );
  return found.length > 0;
}
