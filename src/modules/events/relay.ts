import { and, eq, isNull, or, type SQL, sql } from "drizzle-orm";
import type { PgUpdateSetSource } from "drizzle-orm/pg-core";
import type { Ctx } from "../../ctx.ts";
import { type Broker, BrokerFailure, type BrokerMessage } from "../../kit/broker.ts";
import type { EventCursor } from "./cursor.ts";
import { envelopeOf } from "./envelope.ts";
import type { Event } from "./events.ts";
import { latestCursor, readNextEvents } from "./feed.ts";
import { eventCursors } from "./tables.ts";

/** The name of the message queue among the readers that have a stored cursor. */
export const BROKER_SINK = "broker";
/** Under load, the job runs twice a second. */
const EVENTS_AT_ONCE = { usual: 200, underLoad: 25 } as const;
/** If the holder of the lease is killed, another instance takes over after this time. */
const LEASE_SECONDS = 2.5;
const RENEW_EVERY_MS = 800;
/** An instance without the lease tries to get it no more often than this. */
const TRY_EVERY_MS = 400;

/**
 * Publishes the next events to the message queue (BROKER_URL), in order and at least once, and then
 * stores the cursor. One instance at a time does this, while it holds the lease. Returns the number
 * of published events.
 */
export async function publishEvents(ctx: Ctx, logged: Set<string>): Promise<number> {
  const { broker } = ctx;
  if (!broker || performance.now() < broker.pausedUntil) return 0;
  const after = await acquireLease(ctx, broker);
  if (!after) return 0;
  const limit = ctx.load.isHigh() ? EVENTS_AT_ONCE.underLoad : EVENTS_AT_ONCE.usual;
  const { events, end } = await readNextEvents(ctx, after, limit);
  // Connects before the first event, so that a wrong BROKER_URL is logged at the start.
  if (events.length === 0 && broker.isUnavailable === false) return 0;
  // If anything fails from here on, the cursor is read again.
  broker.lease = undefined;
  const isPublished = await publish(ctx, broker, { events, logged });
  if (isPublished && events.length > 0) await storeCursor(ctx, broker, { from: after, to: end });
  return isPublished ? events.length : 0;
}

/**
 * Called before a server records events. A new message queue gets only later ones; `replayEvents`
 * publishes earlier ones.
 */
export async function prepareRelay({ db, broker, eventSignal }: Ctx): Promise<void> {
  if (!broker) return;
  eventSignal.setActive(BROKER_SINK, true);
  if ((await db.$count(eventCursors, isBrokerRow)) > 0) return;
  const cursor = await latestCursor({ db });
  await db
    .insert(eventCursors)
    .values({ name: BROKER_SINK, ...cursor })
    .onConflictDoNothing();
}

const isBrokerRow = eq(eventCursors.name, BROKER_SINK);
const leaseEnd = sql`clock_timestamp() + make_interval(secs => ${LEASE_SECONDS})`;

/** Acquires or renews the lease. Returns the cursor, or undefined if another one has the lease. */
async function acquireLease({ db }: Ctx, broker: Broker): Promise<EventCursor | undefined> {
  const now = performance.now();
  if (broker.lease && now < broker.lease.renewAt) return broker.lease;
  const isFree = or(
    isNull(eventCursors.holder),
    sql`${eventCursors.leasedUntil} < clock_timestamp()`,
  );
  const [row] = await db
    .update(eventCursors)
    .set({ holder: broker.holder, leasedUntil: leaseEnd })
    .where(and(isBrokerRow, or(eq(eventCursors.holder, broker.holder), isFree)))
    .returning();
  broker.lease = row && { ...row, renewAt: now + RENEW_EVERY_MS };
  if (!row) broker.pausedUntil = now + TRY_EVERY_MS;
  return row;
}

async function publish(
  ctx: Ctx,
  broker: Broker,
  { events, logged }: { events: Event[]; logged: Set<string> },
): Promise<boolean> {
  // Keep the lease while the message queue is slow: for another instance it is as slow.
  const renewing = setInterval(
    () => void changeLease(ctx, { leasedUntil: leaseEnd }).catch(() => {}),
    RENEW_EVERY_MS,
  );
  try {
    const { unroutable } = await broker.publish(events.map((event) => messageOf(ctx, event)));
    recordPublished(ctx, { count: events.length, unroutable, logged });
    logAvailability(ctx, broker);
    return true;
  } catch (error) {
    if (!(error instanceof BrokerFailure)) throw error;
    ctx.metrics.recordPublished("failed", events.length);
    logAvailability(ctx, broker, error);
    broker.pausedUntil = performance.now() + broker.retries.nextMs();
    return false;
  } finally {
    clearInterval(renewing);
    // Another instance may be able to reach the message queue.
    if (broker.isUnavailable) await releaseLease(ctx);
  }
}

const messageOf = (ctx: Ctx, event: Event): BrokerMessage => ({
  id: event.id,
  type: event.type,
  time: event.occurredAt,
  body: JSON.stringify(envelopeOf(ctx.config, event)),
});

function recordPublished(
  { log, metrics }: Ctx,
  {
    count,
    unroutable,
    logged,
  }: { count: number; unroutable: BrokerMessage[]; logged: Set<string> },
): void {
  metrics.recordPublished("published", count - unroutable.length);
  metrics.recordPublished("unroutable", unroutable.length);
  const [first] = unroutable;
  if (!first || logged.has("unroutable")) return;
  logged.add("unroutable");
  log.info(
    { event_type: first.type },
    "The message queue dropped an event, because no queue is bound for its type. This is logged once.",
  );
}

/** Logs once when the message queue becomes unavailable, and once when it is back. */
function logAvailability({ log }: Ctx, broker: Broker, failure?: BrokerFailure): void {
  if (failure && !broker.isUnavailable)
    log.warn(
      { reason: failure.reason },
      "The message queue cannot be used; events wait in the database. Check BROKER_URL.",
    );
  if (!failure && broker.isUnavailable) log.info({}, "The message queue is available again.");
  broker.isUnavailable = failure !== undefined;
  if (!failure) broker.retries.reset();
}

/** Does nothing if the lease was lost or the cursor was moved meanwhile. */
async function storeCursor(
  ctx: Ctx,
  broker: Broker,
  { from, to }: { from: EventCursor; to: EventCursor },
): Promise<void> {
  const renewAt = performance.now() + RENEW_EVERY_MS;
  const { transactionId, position } = to;
  const values = { transactionId, position, leasedUntil: leaseEnd };
  const isStored = await changeLease(ctx, values, isAt(from));
  if (isStored) broker.lease = { transactionId, position, renewAt };
}

const isAt = ({ transactionId, position }: EventCursor) =>
  and(eq(eventCursors.transactionId, transactionId), eq(eventCursors.position, position));

/** Changes the row if this instance has the lease, and `isStill` holds. Returns whether it did. */
async function changeLease(
  { db, broker }: Ctx,
  values: PgUpdateSetSource<typeof eventCursors>,
  isStill?: SQL,
): Promise<boolean> {
  const isHeld = eq(eventCursors.holder, broker?.holder ?? "");
  const changed = await db
    .update(eventCursors)
    .set(values)
    .where(and(isBrokerRow, isHeld, isStill))
    .returning({ name: eventCursors.name });
  return changed.length > 0;
}

/** Lets another instance publish at once. For a graceful shutdown, and if publishing fails. */
export async function releaseLease(ctx: Ctx): Promise<void> {
  const { broker } = ctx;
  if (!broker) return;
  broker.lease = undefined;
  await changeLease(ctx, { holder: null, leasedUntil: null });
}
