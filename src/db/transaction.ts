import type { PrincipalCache } from "../kit/principal-cache.ts";
import { type Db, transact } from "./db.ts";

/** What a verb has of the database: `Ctx`, or a `Ctx` in a transaction. */
interface Transactional {
  db: Db;
  principals: Pick<PrincipalCache<never>, "forget">;
}

/**
 * Runs the changes of one verb in one transaction. `tx` is `ctx` within it. Users that `record` names
 * leave the principal cache when the transaction has committed: another request could otherwise cache
 * again what the transaction changes.
 */
export async function transaction<C extends Transactional, T>(
  ctx: C,
  change: (tx: C) => Promise<T>,
): Promise<T> {
  const changed = new Set<string>();
  const principals = { ...ctx.principals, forget: (userId: string) => void changed.add(userId) };
  const result = await transact(ctx.db, (db) => {
    // The first run of two, if PostgreSQL resolved a deadlock.
    changed.clear();
    return change({ ...ctx, db, principals });
  });
  for (const userId of changed) ctx.principals.forget(userId);
  return result;
}
