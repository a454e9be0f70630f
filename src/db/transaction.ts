import { is } from "drizzle-orm";
import { PgTransaction } from "drizzle-orm/pg-core";
import type { PrincipalCache } from "../kit/principal-cache.ts";
import { Problem, UserGone } from "../kit/problem.ts";
import type { ProblemCode } from "../kit/problem-codes.ts";
import type { Db } from "./db.ts";
import { causeOf } from "./failures.ts";

/** `Ctx`, or the `Ctx` of a transaction. */
interface Transactional {
  db: Db;
  principals: Pick<PrincipalCache<never>, "forget">;
}

/**
 * Runs the changes of one verb in one transaction. Changed users leave the principal cache only
 * after the commit: earlier, another request could cache the old state again.
 */
export async function transaction<C extends Transactional, T>(
  ctx: C,
  change: (tx: C) => Promise<T>,
): Promise<T> {
  const changed = new Set<string>();
  const principals = { ...ctx.principals, forget: (userId: string) => void changed.add(userId) };
  const result = await transact(ctx.db, (db) => {
    // Drops users of a run that PostgreSQL aborted to resolve a deadlock.
    changed.clear();
    return change({ ...ctx, db, principals });
  });
  for (const userId of changed) ctx.principals.forget(userId);
  return result;
}

/** The refusal for a violation of each unique constraint. */
const duplicates: Record<string, ProblemCode> = {
  users_email_key: "email_taken",
  users_username_key: "username_taken",
};

/** Foreign keys to users, violated if another transaction deletes the user at the same time. */
export const USER_REFERENCE = /_users_id_fk$/;

const DEADLOCK_RETRIES = 2;

/**
 * All transactions go through here. The database decides races: a constraint violation becomes its
 * refusal. PostgreSQL resolves a deadlock by aborting one transaction, which is retried from the
 * start: `change` must not have effects outside the database.
 */
async function transact<T>(db: Db, change: (tx: Db) => Promise<T>): Promise<T> {
  // A nested transaction cannot retry: the outer one still holds the locks of the deadlock.
  const retries = is(db, PgTransaction) ? 0 : DEADLOCK_RETRIES;
  for (let attempt = 0; ; attempt += 1)
    try {
      return await db.transaction(change);
    } catch (error) {
      const isDeadlock = /^(40P01|40001)$/.test(causeOf(error).code ?? "");
      if (!isDeadlock || attempt >= retries) throw refusalOf(error) ?? error;
    }
}

function refusalOf(error: unknown): Problem | undefined {
  const { code, constraint_name: constraint = "", detail = "" } = causeOf(error);
  const duplicate = code === "23505" ? duplicates[constraint] : undefined;
  if (duplicate) return new Problem(duplicate);
  if (code !== "23503" || !USER_REFERENCE.test(constraint)) return undefined;
  // The text of the detail is in the server's language, but its table and key are not. The table is
  // the one without the key, or the one that still refers to it: then the user exists.
  if (!/\busers\b/.test(detail)) return undefined;
  return new UserGone(/=\(([0-9a-f-]{36})\)/.exec(detail)?.[1]);
}
