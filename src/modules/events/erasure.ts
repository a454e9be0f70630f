import { and, asc, eq, inArray, isNotNull, lt, or, type SQL } from "drizzle-orm";
import type { PgColumn } from "drizzle-orm/pg-core";
import type { Ctx } from "../../ctx.ts";
import { isInBatch } from "../../db/batch.ts";
import type { Db } from "../../db/db.ts";
import { transaction } from "../../db/transaction.ts";
import { erasures, events } from "./tables.ts";

const ERASED_AT_ONCE = 5_000;
/** Longer than any request that began before the user was deleted. */
const AGAIN_AFTER_MS = 60_000;

/** Erases up to 10,000 events of one user who was deleted over a minute ago. */
export function eraseRemainingOrigins(ctx: Ctx): Promise<number> {
  return transaction(ctx, async ({ db, now }) => {
    const [due] = await db
      .select()
      .from(erasures)
      .where(lt(erasures.createdAt, new Date(now().getTime() - AGAIN_AFTER_MS)))
      .orderBy(asc(erasures.createdAt))
      .limit(1)
      .for("update", { skipLocked: true });
    if (!due) return 0;
    const erased = await eraseOriginsBatch(db, due.userId);
    if (erased < ERASED_AT_ONCE) await db.delete(erasures).where(eq(erasures.userId, due.userId));
    return erased + 1;
  });
}

/** At most 5,000 events by the user, and 5,000 anonymous ones about the user. Returns how many. */
export async function eraseOriginsBatch(db: Db, userId: string): Promise<number> {
  const { actorId, actorKind, id, occurredAt, subjectId } = events;
  // By an index: the planner would otherwise read the whole table for a user with many events.
  const done = await erase(db, eq(actorId, userId), [id]);
  const isAnonymous = and(eq(subjectId, userId), inArray(actorKind, ["anonymous", "stranger"]));
  return done + (await erase(db, isAnonymous, [occurredAt, id]));
}

async function erase(db: Db, which: SQL | undefined, order: PgColumn[]): Promise<number> {
  const { id, ip, userAgent } = events;
  const some = db
    .select({ id })
    .from(events)
    .where(and(which, or(isNotNull(ip), isNotNull(userAgent))))
    .orderBy(...order.map((column) => asc(column)))
    .limit(ERASED_AT_ONCE)
    .for("update", { skipLocked: true });
  const erased = await db
    .update(events)
    .set({ ip: null, userAgent: null })
    .where(isInBatch(id, some))
    .returning({ id });
  return erased.length;
}
