import { and, eq, inArray, sql } from "drizzle-orm";
import type { Ctx } from "../../ctx.ts";
import { transaction } from "../../db/transaction.ts";
import { type EventCursor, formatCursor } from "../events/cursor.ts";
import type { Event } from "../events/events.ts";
import { type EventPage, readNextEvents } from "../events/feed.ts";
import { webhooks } from "./tables.ts";
import { ALL_EVENTS } from "./webhooks.ts";

/** Webhooks that have considered the same events. */
interface Group {
  cursor: EventCursor;
  ids: string[];
}

const EVENTS_AT_ONCE = 500;
/** Deliveries in one statement. More could take longer than a statement may. */
const QUEUED_AT_ONCE = 5_000;
/** Beyond this, the next events of a webhook wait in the events table. */
const WAITING_MAX = 10_000;
/** Under load, the same: a row for each delivery costs more than to read it later. */
const DUE_MAX_UNDER_LOAD = 100;

/**
 * Queues a delivery of each new event for each webhook that wants it. Any number of processes may
 * do this at once. `hasMore`: there may be more new events.
 */
export async function queueDeliveries(
  ctx: Ctx,
): Promise<{ isAnyEnabled: boolean; hasMore: boolean }> {
  const enabled = await findCursors(ctx);
  ctx.eventSignal.setActive("webhooks", enabled.length > 0);
  let hasMore = false;
  for (const group of groupsOf(enabled)) hasMore = (await queueForGroup(ctx, group)) || hasMore;
  return { isAnyEnabled: enabled.length > 0, hasMore };
}

interface Enabled {
  id: string;
  transaction_id: string;
  position: string;
  is_full: boolean;
}

/** Raw SQL, because this query runs every second, also if there is no webhook. */
async function findCursors({ db, load, now }: Ctx): Promise<Enabled[]> {
  const isWaiting = sql`webhook_id = webhooks.id and state = 'waiting'`;
  const isDue = sql`${isWaiting} and due_at <= ${now().toISOString()}::timestamptz`;
  const rows = await db.execute(sql`
    select id, transaction_id::text, position::text, (
      exists (select 1 from webhook_deliveries where ${isWaiting} offset ${WAITING_MAX} - 1)
      or (${load.isHigh()} and exists (
        select 1 from webhook_deliveries where ${isDue} offset ${DUE_MAX_UNDER_LOAD} - 1))
    ) as is_full
    from webhooks where is_enabled`);
  return rows as unknown as Enabled[];
}

/** Each group is read on its own, so that one far behind delays no other. */
function groupsOf(enabled: Enabled[]): Group[] {
  const groups = new Map<string, Group>();
  for (const { id, transaction_id: transactionId, position, is_full: isFull } of enabled) {
    if (isFull) continue;
    const cursor = { transactionId, position: BigInt(position) };
    const key = formatCursor(cursor);
    const group = groups.get(key) ?? { cursor, ids: [] };
    group.ids.push(id);
    groups.set(key, group);
  }
  return [...groups.values()];
}

/** Returns whether there may be more. */
async function queueForGroup(ctx: Ctx, { cursor, ids }: Group): Promise<boolean> {
  const page = await readNextEvents(ctx, cursor, eventsAtOnce(ids.length));
  if (page.events.length === 0) return false;
  const isMoved = await transaction(ctx, (tx) => queuePage(tx, { cursor, ids, page }));
  // Otherwise another process has read on from the same cursor, but maybe not as far.
  return page.hasMore || !isMoved;
}

const eventsAtOnce = (webhookCount: number): number =>
  Math.min(EVENTS_AT_ONCE, Math.ceil(QUEUED_AT_ONCE / webhookCount));

/** Moves the cursors and inserts the deliveries. False if another process was first. */
async function queuePage(
  ctx: Ctx,
  { cursor, ids, page }: Group & { page: EventPage },
): Promise<boolean> {
  const { id, events, transactionId, position } = webhooks;
  const isUnmoved = and(
    inArray(id, ids),
    eq(transactionId, cursor.transactionId),
    eq(position, cursor.position),
  );
  const moved = await ctx.db
    .update(webhooks)
    .set(page.end)
    .where(isUnmoved)
    .returning({ id, events });
  const time = ctx.now();
  const rows = moved.flatMap((webhook) =>
    page.events
      .filter(({ type }) => [type, ALL_EVENTS].some((name) => webhook.events.includes(name)))
      .map((event) => rowOf(webhook.id, event, time)),
  );
  if (rows.length > 0) await insertDeliveries(ctx, rows, time);
  return moved.length > 0;
}

const rowOf = (webhookId: string, { id, type, cursor }: Event, time: Date) => ({
  id: Bun.randomUUIDv7("hex", time),
  webhook_id: webhookId,
  event_id: id,
  event_type: type,
  transaction_id: cursor.transactionId,
  position: cursor.position.toString(),
});

/**
 * All rows are one parameter: with Drizzle's nine for each row, building the statement would take
 * more CPU time than the rest of `queuePage`. A delivery that ended waits again, as after
 * `redeliver`: the webhook was replayed.
 */
const insertDeliveries = ({ db }: Ctx, rows: ReturnType<typeof rowOf>[], time: Date) => {
  const at = sql`${time.toISOString()}::timestamptz`;
  return db.execute(sql`
    insert into webhook_deliveries (id, webhook_id, event_id, event_type, transaction_id, position,
      queued_at, due_at, created_at)
    select delivery.id, delivery.webhook_id, delivery.event_id, delivery.event_type,
      delivery.transaction_id, delivery.position, ${at}, ${at}, ${at}
    from jsonb_to_recordset(${JSON.stringify(rows)}::text::jsonb) as delivery(id uuid,
      webhook_id uuid, event_id uuid, event_type text, transaction_id xid8, position bigint)
    on conflict (webhook_id, event_id) do update set state = 'waiting', attempts = 0,
      queued_at = ${at}, due_at = ${at}, leased_until = null, ended_at = null
    where webhook_deliveries.state <> 'waiting'`);
};
