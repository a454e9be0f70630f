import { and, eq, or } from "drizzle-orm";
import type { Db } from "../../db/db.ts";
import { lockUsers } from "../../db/locks.ts";
import { Problem } from "../../kit/problem.ts";
import { users } from "./tables.ts";

const isActiveSuperuser = and(users.isSuperuser, users.isActive);

/** Locks superusers, so that two cannot demote each other at once. Throws `last_superuser`. */
export async function refuseLastSuperuser(tx: Db, id: string): Promise<void> {
  await lockUsers(tx, or(isActiveSuperuser, eq(users.id, id)));
  const active = await tx.select({ id: users.id }).from(users).where(isActiveSuperuser).limit(2);
  if (active.length === 1 && active[0]?.id === id) throw new Problem("last_superuser");
}
