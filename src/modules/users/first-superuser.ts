import { sql } from "drizzle-orm";
import type { Actor, Ctx, User } from "../../ctx.ts";
import { transact } from "../../db/db.ts";
import { advisoryLocks } from "../../db/locks.ts";
import { users } from "./tables.ts";
import { createUser } from "./users.ts";

/**
 * Makes the superuser that the configuration names, while there is none; of several instances that start together, one
 * does. Throws `email_taken` where somebody registered that address before: a stranger must not become superuser by it.
 */
export async function createFirstSuperuser(
  ctx: Pick<Ctx, "config" | "db" | "envelope" | "fingerprint" | "hashing" | "limits" | "now">,
  actor: Actor,
  input: { email: string; password: string },
): Promise<User | undefined> {
  return transact(ctx.db, async (tx) => {
    await tx.execute(sql`select pg_advisory_xact_lock(${advisoryLocks.firstSuperuser})`);
    const inTransaction = { ...ctx, db: tx };
    if (await hasSuperuser(inTransaction)) return undefined;
    return createUser(inTransaction, actor, {
      ...input,
      isSuperuser: true,
      verification: "known",
    });
  });
}

export async function hasSuperuser(ctx: Pick<Ctx, "db">): Promise<boolean> {
  // By hand, because each start waits for it: drizzle's first statement costs a start a tenth of its time.
  const found = await ctx.db.execute(
    sql`select 1 from ${users} where ${users.isSuperuser} limit 1`,
  );
  return found.length > 0;
}
