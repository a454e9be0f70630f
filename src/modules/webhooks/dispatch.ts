import { and, eq, inArray, type SQL, sql } from "drizzle-orm";
import type { Ctx } from "../../ctx.ts";
import { transaction } from "../../db/transaction.ts";
import { type EventCursor, formatCursor } from "../events/cursor.ts";
import { type EventPage, readNextEvents } from "../events/feed.ts";
import { webhooks } from "./tables.ts";
import { ALL_EVENTS } from "./webhooks.ts";

/** Webhooks that have considered the same events. */
interface Group {
  cursor: EventCursor;
  ids: string[];
}

const QUEUED_AT_ONCE = 500;
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
  const page = await readNextEvents(ctx, cursor, QUEUED_AT_ONCE);
  if (page.events.length === 0) return false;
  const isMoved = await transaction(ctx, (tx) => queuePage(tx, { cursor, ids, page }));
  // Otherwise another process has read on from the same cursor, but maybe not as far.
  return page.hasMore || !isMoved;
}

/** Moves the cursors and inserts the deliveries. False if another process was first. */
async function queuePage(
  { db, now }: Ctx,
  { cursor, ids, page }: Group & { page: EventPage },
): Promise<boolean> {
  const { id, events, transactionId, position } = webhooks;
  const isUnmoved = and(
    inArray(id, ids),
    eq(transactionId, cursor.transactionId),
    eq(position, cursor.position),
  );
  const moved = await db.update(webhooks).set(page.end).where(isUnmoved).returning({ id, events });
  const time = now();
  const rows = moved.flatMap((webhook) =>
    page.events
      .filter(({ type }) => [type, ALL_EVENTS].some((name) => webhook.events.includes(name)))
      .map((event) => ({
        id: Bun.randomUUIDv7("hex", time),
        webhook_id: webhook.id,
        event_id: event.id,
        event_type: event.type,
        transaction_id: event.cursor.transactionId,
        position: event.cursor.position.toString(),
      })),
  );
  if (rows.length > 0) await db.execute(insertStatement(rows, time));
  return moved.length > 0;
}

/** Raw SQL with one parameter for all rows: Drizzle would take longer than all else here. */
function insertStatement(rows: object[], time: Date): SQL {
  const dueAt = sql`${time.toISOString()}::timestamptz`;
  return sql`
    insert into webhook_deliveries (id, webhook_id, event_id, event_type, transaction_id, position,
      queued_at, due_at, created_at)
    select row.*, ${dueAt}, ${dueAt}, ${dueAt}
    from jsonb_to_recordset(${JSON.stringify(rows)}::text::jsonb) as row(id uuid, webhook_id uuid,
      event_id uuid, event_type text, transaction_id xid8, position bigint)
    -- After a replay, the event may have been delivered before.
    on conflict (webhook_id, event_id) do update set state = 'waiting', attempts = 0,
      queued_at = ${dueAt}, due_at = ${dueAt}, leased_until = null, ended_at = null
    where webhook_deliveries.state <> 'waiting'`;
}
