import { and, asc, desc, eq, getTableColumns, inArray, not, or, sql } from "drizzle-orm";
import { requireAdministrator } from "../../access.ts";
import type { Actor, Ctx, UserActor } from "../../ctx.ts";
import { prepared } from "../../db/db.ts";
import type { EventType } from "../../kit/event-types.ts";
import { leastIdOf } from "../../kit/id.ts";
import { Problem } from "../../kit/problem.ts";
import { type EventCursor, isAfter, isBefore, START } from "./cursor.ts";
import { asSubjectSees, type Event, eventOf } from "./events.ts";
import { eventCursors, events } from "./tables.ts";

/** Which events to read. */
export interface EventRange {
  /** Only events after this cursor. Without it, from the oldest one on. */
  after?: EventCursor | undefined;
  /** Only events of this time or later. */
  since?: Date | undefined;
  types?: readonly EventType[] | undefined;
  subjectId?: string | undefined;
  limit: number;
}

export interface EventPage {
  /** Oldest first, in the order of their cursors. */
  events: Event[];
  /** Every event up to here was considered: read on after it. */
  end: EventCursor;
  /** Whether there is more to read now. */
  hasMore: boolean;
}

const { transactionId, position } = events;
const inOrder = [asc(transactionId), asc(position)] as const;

/**
 * True for an event if every transaction up to its own has ended. Transactions commit out of order:
 * a reader that went beyond these events would skip those that are committed later.
 */
const isSettled = sql<boolean>`${transactionId} < settled_transaction_id()`;

/**
 * Reads the next events after a cursor, for a reader that follows all of them. If others were
 * committed that are not settled yet, wakes the readers again soon.
 */
export async function readNextEvents(
  { db, eventSignal }: Ctx,
  after: EventCursor,
  limit: number,
): Promise<EventPage> {
  const rows = await nextEvents(db).execute({
    transactionId: after.transactionId,
    position: after.position.toString(),
    limit: limit + 1,
  });
  const settled = rows.filter((row) => row.isSettled);
  if (settled.length < rows.length) eventSignal.retrySoon();
  const found = settled.slice(0, limit).map(({ event }) => eventOf(event));
  return { events: found, end: found.at(-1)?.cursor ?? after, hasMore: settled.length > limit };
}

/** The settled events after a cursor, and the first one that is not settled. */
const nextEvents = prepared((db) => {
  const isLater = sql`(${transactionId}, ${position}) > (${sql.placeholder("transactionId")}::xid8, ${sql.placeholder("position")}::bigint)`;
  const firstUnsettled = db
    .select({ id: events.id })
    .from(events)
    .where(and(isLater, not(isSettled)))
    .orderBy(...inOrder)
    .limit(1);
  return db
    .select({ event: getTableColumns(events), isSettled })
    .from(events)
    .where(and(isLater, or(isSettled, eq(events.id, firstUnsettled))))
    .orderBy(...inOrder)
    .limit(sql.placeholder("limit"))
    .prepare("next_events");
});

/** Any events, for administrators. Throws `forbidden` and `cursor_expired`. */
export async function listEvents(ctx: Ctx, actor: Actor, range: EventRange): Promise<EventPage> {
  requireAdministrator(actor);
  return readEvents(ctx, range);
}

/** Events about the actor, as they may see them. Throws `cursor_expired`. */
export async function listOwnEventsAfter(
  ctx: Ctx,
  { user }: UserActor,
  range: Pick<EventRange, "after" | "limit">,
): Promise<EventPage> {
  const page = await readEvents(ctx, { ...range, subjectId: user.id });
  return { ...page, events: page.events.map(asSubjectSees) };
}

/** Bounds what one statement reads while few events match. */
const SCANNED_MAX = 10_000;

/**
 * Reads the settled events of a range. A page may have few events, or none, although later ones
 * match: read on while `hasMore`. Throws `cursor_expired` if events after the cursor may have been
 * deleted.
 */
export async function readEvents(ctx: Ctx, range: EventRange): Promise<EventPage> {
  const after = await startOf(ctx, range);
  const { scannedCount, last, ids } = await scan(ctx, after, range);
  const rows = await ctx.db
    .select()
    .from(events)
    .where(inArray(events.id, ids.slice(0, range.limit)))
    .orderBy(...inOrder);
  // After they were read: the purge may have deleted some at the same time.
  if (range.after) await requireReadable(ctx, range.after);
  const found = rows.map(eventOf);
  if (ids.length > range.limit)
    return { events: found, end: found.at(-1)?.cursor ?? after, hasMore: true };
  return { events: found, end: last ?? after, hasMore: scannedCount === SCANNED_MAX };
}

interface Scan {
  scannedCount: number;
  /** The last event that was considered. */
  last: EventCursor | undefined;
  /** The ids of those that match: one more than the page holds, if there are as many. */
  ids: string[];
}

/** In one statement: a second one would see other events. */
async function scan(
  { db }: Ctx,
  after: EventCursor,
  { subjectId, types, since, limit }: EventRange,
): Promise<Scan> {
  const scanned = db
    .select({ id: events.id, transactionId, position, type: events.type, at: events.occurredAt })
    .from(events)
    .where(and(isAfter(after), isSettled, subjectId ? eq(events.subjectId, subjectId) : undefined))
    .orderBy(...inOrder)
    // Without a filter, each one matches.
    .limit(types || since ? SCANNED_MAX : limit + 1);
  const matches = [
    sql`true`,
    ...(types ? [sql`type in ${[...types]}`] : []),
    ...(since ? [sql`occurred_at >= ${since.toISOString()}::timestamptz`] : []),
  ];
  const [row] = await db.execute(sql`
    with scanned as ${scanned}
    select (select count(*)::int from scanned) as count,
      (select to_json(array[transaction_id::text, position::text]) from scanned
        order by scanned.transaction_id desc, scanned.position desc limit 1) as last,
      to_json(array(select id from scanned where ${sql.join(matches, sql` and `)}
        order by scanned.transaction_id, scanned.position limit ${limit + 1})) as ids`);
  const { count, last, ids } = row as unknown as RawScan;
  const end = last ? { transactionId: last[0], position: BigInt(last[1]) } : undefined;
  return { scannedCount: count, last: end, ids };
}

interface RawScan {
  count: number;
  last: [transactionId: string, position: string] | null;
  ids: string[];
}

const startOf = async (ctx: Ctx, { after, since }: EventRange): Promise<EventCursor> =>
  after ?? (since ? startOfTime(ctx, since) : START);

/** Throws `cursor_expired` if events after the cursor may have been deleted. */
export async function requireReadable({ db }: Ctx, after: EventCursor): Promise<void> {
  const [purged] = await db.select().from(eventCursors).where(eq(eventCursors.name, "purged"));
  if (purged && isBefore(after, purged)) throw new Problem("cursor_expired");
}

/**
 * A transaction that is open for long can record an event later than others with greater cursors.
 * So this starts before the least cursor of the first thousand events since then.
 */
const COMPARED = 1_000;

export async function startOfTime({ db }: Ctx, since: Date): Promise<EventCursor> {
  const first = db
    .select({ transactionId, position })
    .from(events)
    .where(sql`${events.id} >= ${leastIdOf(since)}`)
    .orderBy(asc(events.id))
    .limit(COMPARED)
    .as("first");
  const [least] = await db
    .select()
    .from(first)
    .orderBy(asc(first.transactionId), asc(first.position))
    .limit(1);
  if (!least) return latestCursor({ db });
  return { ...least, position: least.position - 1n };
}

/** The last event that can be read now: a new reader that wants only later events starts here. */
export async function latestCursor({ db }: Pick<Ctx, "db">): Promise<EventCursor> {
  const [latest] = await db
    .select({ transactionId, position })
    .from(events)
    .where(isSettled)
    .orderBy(desc(transactionId), desc(position))
    .limit(1);
  return latest ?? START;
}
