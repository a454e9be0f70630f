import { eq, type SQL } from "drizzle-orm";
import { users } from "../modules/users/tables.ts";
import type { Db } from "./db.ts";

/**
 * Advisory locks: numbers that all instances on one database share. They are the ASCII bytes of
 * "bunker", counted up, so that another program on the same database is unlikely to use them.
 */
export const advisoryLocks = {
  migrations: 0x62756e6b6572,
  firstSuperuser: 0x62756e6b6573,
  signingKeys: 0x62756e6b6574,
  webhooks: 0x62756e6b6575,
} as const;

/**
 * Locks users, and returns the ids of those that exist. To avoid deadlocks, lock users before the
 * rows that belong to them, and several users in one statement.
 */
export async function lockUsers(tx: Db, which: SQL | undefined): Promise<string[]> {
  const query = tx.select({ id: users.id }).from(users).where(which).orderBy(users.id);
  return (await query.for("no key update")).map(({ id }) => id);
}

/**
 * Prevents the deletion of a user, for a transaction that has already locked rows of that user.
 * Never waits: false if the user does not exist or is being deleted.
 */
export async function tryHoldUser(tx: Db, id: string): Promise<boolean> {
  const query = tx.select({ id: users.id }).from(users).where(eq(users.id, id));
  return (await query.for("key share", { skipLocked: true })).length > 0;
}
