import { and, eq, sql } from "drizzle-orm";
import type { Db } from "../../db/db.ts";
import { users } from "../../db/schema.ts";
import { Problem } from "../../kit/problem.ts";

/** Locks every active superuser, so that two of them who demote each other at once do not both succeed. */
export async function refuseLastSuperuser(tx: Db, id: string): Promise<void> {
  const active = await tx
    .select({ id: users.id })
    .from(users)
    .where(sql`${users.isSuperuser} and ${users.isActive}`)
    .orderBy(users.id)
    .for("no key update");
  if (active.length === 1 && active[0]?.id === id) throw new Problem("last_superuser");
}

/** Locks an account, and says whether it is on. */
export const lockIfActive = async (tx: Db, id: string): Promise<boolean> => {
  const active = and(eq(users.id, id), users.isActive);
  return (
    (await tx.select({ id: users.id }).from(users).where(active).for("no key update")).length > 0
  );
};
