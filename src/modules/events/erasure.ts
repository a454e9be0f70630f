import { and, asc, eq, inArray, isNotNull, lt, or } from "drizzle-orm";
import type { Ctx } from "../../ctx.ts";
import { type Db, transact } from "../../db/db.ts";
import { erasures, events } from "../../db/schema.ts";

const ERASED_AT_ONCE = 5_000;
/** Longer than any request takes that began before the user was deleted. */
const AGAIN_AFTER_MS = 60_000;

/** Erases what is left of a user who was deleted a minute ago, at most 5,000 events at a time. Returns 0 when nothing is due. */
export function eraseLeftOrigins({ db, now }: Pick<Ctx, "db" | "now">): Promise<number> {
  return transact(db, async (tx) => {
    const [due] = await tx
      .select()
      .from(erasures)
      .where(lt(erasures.createdAt, new Date(now().getTime() - AGAIN_AFTER_MS)))
      .orderBy(asc(erasures.createdAt))
      .limit(1)
      .for("update", { skipLocked: true });
    if (!due) return 0;
    const erased = await eraseSome(tx, [due.userId]);
    if (erased < ERASED_AT_ONCE) await tx.delete(erasures).where(eq(erasures.userId, due.userId));
    return erased + 1;
  });
}

/** Erases 5,000 at most. Returns how many. */
export async function eraseSome(db: Db, userIds: string[]): Promise<number> {
  const { id, actorId, actorKind, address, subjectId, userAgent } = events;
  const isTheirs = or(
    inArray(actorId, userIds),
    and(inArray(subjectId, userIds), eq(actorKind, "stranger")),
  );
  const some = db
    .select({ id })
    .from(events)
    .where(and(isTheirs, or(isNotNull(address), isNotNull(userAgent))))
    .limit(ERASED_AT_ONCE);
  const erased = await db
    .update(events)
    .set({ address: null, userAgent: null })
    .where(inArray(id, some))
    .returning({ id });
  return erased.length;
}
