import { sql } from "drizzle-orm";
import type { Actor, Ctx, User } from "../../ctx.ts";
import { advisoryLocks } from "../../db/locks.ts";
import { transaction } from "../../db/transaction.ts";
import { users } from "./tables.ts";
import { createUser } from "./users.ts";

/**
 * Creates the superuser that the configuration names, if there is no superuser. If several
 * instances start at once, only one creates it. Throws `email_taken` if a user has that email: an
 * anonymous caller could have registered it, and must not become superuser.
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
  // Raw SQL, because every start waits for this query: Drizzle's first statement takes a tenth of
  // the start time.
  const found = await ctx.db.execute(
    sql`select 1 from ${users} where ${users.isSuperuser} limit 1`,
  );
  return found.length > 0;
}
