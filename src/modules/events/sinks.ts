import { and, asc, count, eq, ne, sql } from "drizzle-orm";
import type { Ctx } from "../../ctx.ts";
import { webhookDeliveries, webhooks } from "../webhooks/tables.ts";
import { type EventCursor, isAfter } from "./cursor.ts";
import { requireReadable } from "./feed.ts";
import { BROKER_SINK } from "./relay.ts";
import { eventCursors, events } from "./tables.ts";

/** A reader of events whose cursor is stored, such as the message queue. */
export interface Sink {
  name: string;
  /** Up to here, it has all events. */
  cursor: EventCursor;
  /** The instance that works for it now. */
  holder: string | null;
  /** How long its next event has waited; 0 if it has all. */
  waitedSeconds: number;
  /** Deliveries of a webhook that wait: these events are before the cursor. */
  waitingDeliveries: number;
}

/** The row that says which events were deleted is no sink. */
const isSink = ne(eventCursors.name, "purged");
const { name, transactionId, position, holder, leasedUntil } = eventCursors;

export async function listSinks(ctx: Ctx): Promise<Sink[]> {
  const current = sql<
    string | null
  >`case when ${leasedUntil} > clock_timestamp() then ${holder} end`;
  const rows = await ctx.db
    .select({ name, cursor: { transactionId, position }, holder: current })
    .from(eventCursors)
    .where(isSink)
    .orderBy(name);
  return Promise.all(
    rows.map(async (row) => ({
      ...row,
      waitedSeconds: await waitedSeconds(ctx, row.cursor),
      waitingDeliveries: 0,
    })),
  );
}

/** Each enabled webhook, by its id. Any instance works for it. */
export async function listWebhookSinks(ctx: Ctx): Promise<Sink[]> {
  const { id } = webhooks;
  const rows = await ctx.db
    .select({
      name: sql<string>`${id}::text`,
      cursor: { transactionId: webhooks.transactionId, position: webhooks.position },
      waitingDeliveries: count(webhookDeliveries.id),
      queuedSeconds: sql<number>`coalesce(extract(epoch from ${ctx.now().toISOString()}::timestamptz - min(${webhookDeliveries.queuedAt})), 0)::float8`,
    })
    .from(webhooks)
    .leftJoin(
      webhookDeliveries,
      and(eq(webhookDeliveries.webhookId, id), sql`${webhookDeliveries.state} = 'waiting'`),
    )
    .where(eq(webhooks.isEnabled, true))
    .groupBy(id)
    .orderBy(id);
  return Promise.all(
    rows.map(async ({ queuedSeconds, ...row }) => ({
      ...row,
      name: `webhook ${row.name}`,
      holder: null,
      waitedSeconds: Math.max(queuedSeconds, await waitedSeconds(ctx, row.cursor)),
    })),
  );
}

async function waitedSeconds({ db, now }: Ctx, cursor: EventCursor): Promise<number> {
  const [next] = await db
    .select({ at: events.occurredAt })
    .from(events)
    .where(isAfter(cursor))
    .orderBy(asc(events.transactionId), asc(events.position))
    .limit(1);
  return next ? Math.max(0, (now().getTime() - next.at.getTime()) / 1000) : 0;
}

export async function readLags(ctx: Ctx): Promise<Record<string, number>> {
  // Without BROKER_URL, the cursor of an earlier message queue stays where it is.
  const sinks = ctx.broker ? await listSinks(ctx) : [];
  const lags = Object.fromEntries(sinks.map((sink) => [sink.name, sink.waitedSeconds]));
  const [slowest] = await ctx.db
    .select({ transactionId: webhooks.transactionId, position: webhooks.position })
    .from(webhooks)
    .where(eq(webhooks.isEnabled, true))
    .orderBy(webhooks.transactionId, webhooks.position)
    .limit(1);
  if (!slowest) return lags;
  const seconds = [await waitedSeconds(ctx, slowest), await overdueSeconds(ctx)];
  return { ...lags, webhooks: Math.max(...seconds) };
}

/** How long the next due delivery has waited. Without receivers that fail: those are reported. */
async function overdueSeconds({ db, now }: Ctx): Promise<number> {
  const time = sql`${now().toISOString()}::timestamptz`;
  const [row] = await db.execute(sql`
    select coalesce(max(extract(epoch from ${time} - oldest.due_at)), 0)::float8 as seconds
    from webhooks, lateral (
      select min(due_at) as due_at from webhook_deliveries
      where webhook_id = webhooks.id and state = 'waiting'
    ) as oldest
    where is_enabled and failing_since is null`);
  return Math.max(0, Number(row?.["seconds"] ?? 0));
}

/** Bounds the work of one statement. */
export const COUNTED_MAX = 100_000;

/** How many events a sink does not have yet. Counts at most `COUNTED_MAX` after its cursor. */
export async function countBehind(
  { db }: Ctx,
  { cursor, waitingDeliveries = 0 }: Pick<Sink, "cursor"> & Partial<Sink>,
): Promise<number> {
  const behind = db
    .select({ id: events.id })
    .from(events)
    .where(isAfter(cursor))
    .limit(COUNTED_MAX);
  return waitingDeliveries + (await db.$count(behind.as("behind")));
}

/**
 * Sets the cursor of the message queue back: it gets the later events again. Returns false if its
 * cursor is not after this one. Throws `cursor_expired` if some events may have been deleted.
 */
export async function replayEvents(ctx: Ctx, after: EventCursor): Promise<boolean> {
  await requireReadable(ctx, after);
  const isAhead = sql`(${transactionId}, ${position}) > (${after.transactionId}::xid8, ${after.position.toString()}::bigint)`;
  const moved = await ctx.db
    .update(eventCursors)
    .set({ transactionId: after.transactionId, position: after.position })
    .where(and(eq(name, BROKER_SINK), isAhead))
    .returning({ name });
  return moved.length > 0;
}
