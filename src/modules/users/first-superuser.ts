import { sql } from "drizzle-orm";
import type { Actor, Ctx, User } from "../../ctx.ts";
import { advisoryLocks } from "../../db/locks.ts";
import { transaction } from "../../db/transaction.ts";
import { users } from "./tables.ts";
import { createUser } from "./users.ts";

/**
 * Makes the superuser that the configuration names, while there is none; of several instances that start together, one
 * does. Throws `email_taken` where somebody registered that address before: a stranger must not become superuser by it.
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
  // By hand, because each start waits for it: drizzle's first statement costs a start a tenth of its time.
  const found = await ctx.db.execute(
    sql`select 1 from ${users} where ${users.isSuperuser} limit 1`,
  );
  return found.length > 0;
}
