import { and, asc, eq, getTableColumns, inArray, lt, lte, sql } from "drizzle-orm";
import type { Ctx } from "../../ctx.ts";
import { isInBatch } from "../../db/batch.ts";
import { transaction } from "../../db/transaction.ts";
import { type Event, eventOf } from "../events/events.ts";
import { events } from "../events/tables.ts";
import { webhookDeliveries as deliveries, webhooks } from "./tables.ts";
import type { Webhook } from "./webhooks.ts";

export type Delivery = typeof deliveries.$inferSelect;

/** A delivery that this process may attempt until its lease ends. */
export interface Claimed {
  delivery: Delivery;
  /** `renewLeases` moves it. */
  leasedUntil: Date;
  webhook: Webhook;
  /** Undefined if it is no longer stored. */
  event: Event | undefined;
}

/** If a process dies, another one goes on after this. */
const LEASE_MS = 5_000;
const RENEWED_BEFORE_MS = 3_500;
const CONCURRENCY_MAX = 16;
/**
 * Few, because another process may have less load, and could send them now, and because leases that
 * wait for their turns must be renewed. At most twice as many for all webhooks as are sent at once.
 */
const CLAIMED_UNDER_LOAD = { max: 8, ofAll: 32 } as const;
/** Bun sends 256 requests at once. Others would wait for those of slow receivers, and time out. */
const CONCURRENCY_OF_ALL = 200;

interface Claim {
  claimed: Claimed[];
  /** How many requests to the receiver one process has in flight. 0 if it is disabled. */
  concurrency: number;
  /** Whether nothing else was due. */
  hasAllDue: boolean;
}

/** Claims due deliveries of one webhook: none if it is disabled. */
export async function claimDue(ctx: Ctx, webhookId: string): Promise<Claim> {
  const [found] = await ctx.db
    .select({ webhook: getTableColumns(webhooks), enabledCount })
    .from(webhooks)
    .where(eq(webhooks.id, webhookId));
  if (!found?.webhook.isEnabled) return { claimed: [], concurrency: 0, hasAllDue: true };
  const { webhook } = found;
  const concurrency = concurrencyOf(webhook, found.enabledCount);
  const leasedUntil = new Date(ctx.now().getTime() + LEASE_MS);
  const usual = limitOf(webhook, concurrency);
  const limit = ctx.load.isHigh() ? Math.min(usual, underLoad(found.enabledCount)) : usual;
  const range = { leasedUntil, limit };
  const rows = webhook.isOrdered
    ? await transaction(ctx, (tx) => claimNext(tx, webhookId, range))
    : await claimAny(ctx, webhookId, range);
  const stored = await findEvents(ctx, rows);
  const claimed = rows.map((delivery) => {
    const event = stored.get(delivery.eventId);
    return { delivery, leasedUntil, webhook, event };
  });
  return { claimed, concurrency, hasAllDue: rows.length < limit };
}

const enabledCount = sql<number>`(select count(*)::int from webhooks where is_enabled)`;

/** A failing receiver is only probed. */
const concurrencyOf = ({ isOrdered, failingSince }: Webhook, count: number): number =>
  isOrdered || failingSince !== null
    ? 1
    : Math.min(CONCURRENCY_MAX, Math.floor(CONCURRENCY_OF_ALL / count));

const underLoad = (count: number): number =>
  Math.min(CLAIMED_UNDER_LOAD.max, Math.ceil(CLAIMED_UNDER_LOAD.ofAll / count));

/** Twice as many as are in flight, so that a claim is rarely awaited. More if they go in order. */
const limitOf = ({ isOrdered, failingSince }: Webhook, concurrency: number): number =>
  2 * (isOrdered && failingSince === null ? CONCURRENCY_MAX : concurrency);

async function findEvents({ db }: Ctx, rows: Delivery[]): Promise<Map<string, Event>> {
  const ids = rows.map(({ eventId }) => eventId);
  if (ids.length === 0) return new Map();
  const found = await db.select().from(events).where(inArray(events.id, ids));
  return new Map(found.map((row) => [row.id, eventOf(row)]));
}

const isWaitingFor = (webhookId: string) =>
  and(eq(deliveries.webhookId, webhookId), sql`${deliveries.state} = 'waiting'`);

interface ClaimRange {
  leasedUntil: Date;
  limit: number;
}

/** In any order. Skips what another process has. */
function claimAny(
  { db, now }: Ctx,
  webhookId: string,
  { leasedUntil, limit }: ClaimRange,
): Promise<Delivery[]> {
  const due = db
    .select({ id: deliveries.id })
    .from(deliveries)
    .where(and(isWaitingFor(webhookId), lte(deliveries.dueAt, now())))
    .orderBy(asc(deliveries.dueAt))
    .limit(limit)
    .for("update", { skipLocked: true });
  return db
    .update(deliveries)
    .set({ leasedUntil, dueAt: leasedUntil })
    .where(isInBatch(deliveries.id, due))
    .returning();
}

/**
 * The first ones in the order of events. None if the very first is not due, because it failed or
 * another process has it. The locks make processes take turns: the next one sees the leases.
 */
async function claimNext(
  { db, now }: Ctx,
  webhookId: string,
  { leasedUntil, limit }: ClaimRange,
): Promise<Delivery[]> {
  const waiting = await db
    .select()
    .from(deliveries)
    .where(isWaitingFor(webhookId))
    .orderBy(asc(deliveries.transactionId), asc(deliveries.position))
    .limit(limit)
    .for("update");
  const time = now();
  const isFree = ({ leasedUntil: until }: Delivery) => until === null || until <= time;
  const [first] = waiting;
  if (!first || first.dueAt > time) return [];
  const end = waiting.findIndex((delivery) => !isFree(delivery));
  const next = end < 0 ? waiting : waiting.slice(0, end);
  const ids = next.map(({ id }) => id);
  if (ids.length > 0)
    await db
      .update(deliveries)
      .set({ leasedUntil, dueAt: leasedUntil })
      .where(inArray(deliveries.id, ids));
  return next;
}

/** Renews leases that end soon, for attempts that take longer. A lost lease stays lost. */
export async function renewLeases(ctx: Ctx, held: Claimed[]): Promise<void> {
  const time = ctx.now().getTime();
  const ending = held.filter(({ leasedUntil }) => leasedUntil.getTime() - time < RENEWED_BEFORE_MS);
  if (ending.length === 0) return;
  const leases = ending.map(({ delivery: { id }, leasedUntil }) => ({ id, until: leasedUntil }));
  const leasedUntil = new Date(time + LEASE_MS);
  const statement = sql`
    update webhook_deliveries set
      leased_until = ${leasedUntil.toISOString()}::timestamptz,
      due_at = ${leasedUntil.toISOString()}::timestamptz
    from jsonb_to_recordset(${JSON.stringify(leases)}::text::jsonb) as lease(id uuid, until timestamptz)
    where webhook_deliveries.id = lease.id and webhook_deliveries.leased_until = lease.until
      and webhook_deliveries.state = 'waiting'
    returning webhook_deliveries.id`;
  const renewed = await transaction(ctx, ({ db }) => db.execute(statement));
  const ids = new Set(renewed.map(({ id }) => id));
  for (const claimed of ending) if (ids.has(claimed.delivery.id)) claimed.leasedUntil = leasedUntil;
}

/** Gives up the leases of deliveries that were not attempted. Lost ones may be of others now. */
export async function release(ctx: Ctx, unused: Claimed[]): Promise<void> {
  const held = unused.filter(({ leasedUntil }) => leasedUntil > ctx.now());
  const ids = held.map(({ delivery }) => delivery.id);
  if (ids.length === 0) return;
  const firstEnd = Math.min(...held.map(({ leasedUntil }) => leasedUntil.getTime()));
  const isOwn = and(
    inArray(deliveries.id, ids),
    eq(deliveries.state, "waiting"),
    // A lease of another process begins when this one has ended.
    lt(deliveries.leasedUntil, new Date(firstEnd + LEASE_MS)),
  );
  const free = { leasedUntil: null, dueAt: ctx.now() };
  await transaction(ctx, ({ db }) => db.update(deliveries).set(free).where(isOwn));
}
