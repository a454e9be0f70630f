import { and, desc, lt, ne, or, type SQL, sql } from "drizzle-orm";
import type { Ctx } from "../../ctx.ts";
import { isInBatch } from "../../db/batch.ts";
import { transaction } from "../../db/transaction.ts";
import { leastIdOf } from "../../kit/id.ts";
import { webhookDeliveries, webhooks } from "../webhooks/tables.ts";
import { eventCursors, events } from "./tables.ts";

const DAY_MS = 86_400_000;
const DELETED_AT_ONCE = 500;

/** How much longer an event is kept for a consumer that has not got it yet. */
const HELD_DAYS = 30;

/** Events older than this are deleted. */
export const eventsKeptFrom = ({ config, now }: Ctx): Date =>
  new Date(now().getTime() - config.eventsRetentionDays * DAY_MS);

/**
 * Deletes at most 500 events that are older than EVENTS_RETENTION_DAYS, and returns how many. Keeps
 * those that a consumer has not got yet, for 30 more days at most. A cursor before a deleted event
 * has expired. Ids are UUIDv7, so the primary key finds old events.
 */
export const purgeEvents = (ctx: Ctx): Promise<number> =>
  transaction(ctx, async ({ db }) => {
    const keptFrom = eventsKeptFrom(ctx);
    const heldFrom = new Date(keptFrom.getTime() - HELD_DAYS * DAY_MS);
    const old = lt(events.id, leastIdOf(keptFrom));
    const batch = db
      .select({ id: events.id })
      .from(events)
      .where(and(old, or(isConsumed(), lt(events.id, leastIdOf(heldFrom)))))
      .limit(DELETED_AT_ONCE)
      .for("update", { skipLocked: true });
    const { transactionId, position } = events;
    const deleted = db
      .$with("deleted")
      .as(
        db.delete(events).where(isInBatch(events.id, batch)).returning({ transactionId, position }),
      );
    const [last] = await db
      .with(deleted)
      .select({
        transactionId: deleted.transactionId,
        position: deleted.position,
        count: sql<number>`(count(*) over ())::int`,
      })
      .from(deleted)
      .orderBy(desc(deleted.transactionId), desc(deleted.position))
      .limit(1);
    if (!last) return 0;
    const { count, ...cursor } = last;
    await db
      .insert(eventCursors)
      .values({ name: "purged", ...cursor })
      .onConflictDoUpdate({
        target: eventCursors.name,
        set: cursor,
        setWhere: sql`(${eventCursors.transactionId}, ${eventCursors.position}) < (excluded.transaction_id, excluded.position)`,
      });
    return count;
  });

/**
 * True for an event that no consumer is still to get. A webhook that Bunker disabled gets its
 * events when it is enabled again.
 */
const isConsumed = (): SQL => sql`not exists (
  select 1 from ${eventCursors} where ${ne(eventCursors.name, "purged")}
    and (${eventCursors.transactionId}, ${eventCursors.position}) < (${events.transactionId}, ${events.position}))
  and not exists (
    select 1 from ${webhooks} where (${webhooks.isEnabled} or ${webhooks.disabledReason} is not null)
      and ((${webhooks.transactionId}, ${webhooks.position}) < (${events.transactionId}, ${events.position})
        or exists (
          select 1 from ${webhookDeliveries} where ${webhookDeliveries.webhookId} = ${webhooks.id}
            and ${webhookDeliveries.eventId} = ${events.id} and ${webhookDeliveries.state} = 'waiting')))`;
