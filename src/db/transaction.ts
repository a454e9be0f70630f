import type { PrincipalCache } from "../kit/principal-cache.ts";
import { type Db, transact } from "./db.ts";

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
