import { eq, type SQL } from "drizzle-orm";
import { users } from "../modules/users/tables.ts";
import type { Db } from "./db.ts";

/**
 * Advisory locks: numbers that every instance on one database agrees on. They spell "bunker" and what comes after
 * it in ASCII, so that another program on the same database is unlikely to use them.
 */
export const advisoryLocks = {
  migrations: 0x62756e6b6572,
  firstSuperuser: 0x62756e6b6573,
  signingKeys: 0x62756e6b6574,
} as const;

/**
 * Locks users in the caller's transaction, and returns the ids of those that exist. Transactions lock users before the rows
 * that belong to them, and several users in one statement in the order of their ids: otherwise two transactions could wait
 * for each other.
 */
export async function lockUsers(tx: Db, which: SQL | undefined): Promise<string[]> {
  const query = tx.select({ id: users.id }).from(users).where(which).orderBy(users.id);
  return (await query.for("no key update")).map(({ id }) => id);
}

/**
 * Keeps a user from being deleted until the caller's transaction ends. Does not wait: returns false if the user does not exist,
 * or is just being deleted. For a transaction that already holds rows of that user.
 */
export async function tryHoldUser(tx: Db, id: string): Promise<boolean> {
  const query = tx.select({ id: users.id }).from(users).where(eq(users.id, id));
  return (await query.for("key share", { skipLocked: true })).length > 0;
}
