import { and, eq, gt, lt, type SQL, sql } from "drizzle-orm";
import { requireAdministrator } from "../../access.ts";
import type { Actor, Ctx } from "../../ctx.ts";
import { deleteBatch } from "../../db/batch.ts";
import { type List, type PageRange, selectPage } from "../../db/page.ts";
import { isId, leastIdOf } from "../../kit/id.ts";
import { Problem } from "../../kit/problem.ts";
import { DAY_MS } from "./attempt.ts";
import type { Delivery } from "./claims.ts";
import { webhookDeliveries as deliveries, webhooks } from "./tables.ts";
import { dueOnceFree, getWebhook } from "./webhooks.ts";

export const deliveryStates = ["waiting", "delivered", "failed", "dropped"] as const;
export type DeliveryState = (typeof deliveryStates)[number];

interface Which {
  webhookId: string;
  state?: DeliveryState | undefined;
}

/** Newest first. Throws `forbidden`, `not_found`. */
export async function listDeliveries(
  ctx: Ctx,
  actor: Actor,
  { webhookId, state }: Which,
): Promise<List<Delivery>> {
  await getWebhook(ctx, actor, webhookId);
  const where = and(eq(deliveries.webhookId, webhookId), state && isInState(state));
  return {
    rows: (range) => selectDeliveries(ctx, where, range),
    count: () => ctx.db.$count(deliveries, where),
  };
}

/** A literal, so that PostgreSQL can use the partial indexes. */
const isInState = (state: DeliveryState): SQL =>
  sql`${deliveries.state} = ${sql.raw(`'${state}'`)}`;

function selectDeliveries({ db }: Ctx, where: SQL | undefined, range: PageRange) {
  const { createdAt: time, id } = deliveries;
  const page = selectPage({ time, id }, "newest first", range);
  return db
    .select()
    .from(deliveries)
    .where(and(where, page.isInPage))
    .orderBy(...page.order)
    .limit(range.limit)
    .offset(page.offset);
}

/**
 * Makes a delivery wait again, whatever its state: it is due at once, with the same event id. It is
 * sent once its webhook is enabled. Throws `forbidden`, `not_found`.
 */
export async function redeliver(
  ctx: Ctx,
  actor: Actor,
  { id, webhookId }: { id: string; webhookId?: string },
): Promise<Delivery> {
  requireAdministrator(actor);
  const isTarget = and(
    eq(deliveries.id, id),
    webhookId === undefined ? undefined : eq(deliveries.webhookId, webhookId),
    hasWebhook,
  );
  const time = ctx.now();
  // As in `insertDeliveries`. A lease stays: otherwise another process could send it meanwhile.
  const reset = {
    state: "waiting",
    attempts: 0,
    queuedAt: time,
    dueAt: dueOnceFree(time),
    endedAt: null,
  };
  const [delivery] = isId(id)
    ? await ctx.db.update(deliveries).set(reset).where(isTarget).returning()
    : [];
  if (!delivery) throw new Problem("not_found");
  return delivery;
}

const hasWebhook = sql`${deliveries.webhookId} in (select id from webhooks)`;
const KEPT_DAYS = 30;

/**
 * Deletes a few deliveries that ended and were created a month ago, and a few of each webhook that
 * was deleted.
 */
export async function purgeDeliveries({ db, now }: Ctx): Promise<number> {
  const oldest = leastIdOf(new Date(now().getTime() - KEPT_DAYS * DAY_MS));
  const isOld = and(lt(deliveries.id, oldest), sql`${deliveries.state} <> 'waiting'`);
  let deleted = await deleteBatch(db, deliveries.id, isOld);
  for (const { id } of await db.execute(deletedWebhooks))
    deleted += await deleteBatch(db, deliveries.id, eq(deliveries.webhookId, String(id)));
  return deleted;
}

/** Reads one entry of the index for each webhook, not the whole table. */
const deletedWebhooks = sql`
  with recursive webhook(id) as (
    (select webhook_id from webhook_deliveries order by webhook_id limit 1)
    union all
    select (select webhook_id from webhook_deliveries where webhook_id > webhook.id
      order by webhook_id limit 1) from webhook where webhook.id is not null
  )
  select id from webhook where id is not null and id not in (select id from webhooks)`;

const HOUR_MS = 3_600_000;
/** `waitMsAfter` returns a day at most. */
const WAIT_MAX_MS = DAY_MS + HOUR_MS;

/** After the clock was ahead for a while: attempts would be due only when that time comes. */
export async function correctDueTimes({ db, now }: Ctx): Promise<number> {
  const time = now();
  const isTooLate = gt(deliveries.dueAt, new Date(time.getTime() + WAIT_MAX_MS));
  await db
    .update(deliveries)
    .set({ dueAt: time, leasedUntil: null })
    .where(and(isInState("waiting"), isTooLate));
  return 0;
}

export const countWaiting = ({ db }: Ctx): Promise<number> =>
  db.$count(deliveries, and(isInState("waiting"), hasWebhook));

/** How many webhooks are in each state. */
export async function countWebhooks({ db }: Ctx): Promise<Record<string, number>> {
  const { isEnabled, disabledReason, failingSince } = webhooks;
  const state = sql<string>`case when ${isEnabled} and ${failingSince} is null then 'working'
    when ${isEnabled} then 'failing' when ${disabledReason} is null then 'off' else 'disabled' end`;
  const rows = await db
    .select({ state: state.as("state"), count: sql<number>`count(*)::int` })
    .from(webhooks)
    .groupBy(sql`1`);
  const none = { working: 0, failing: 0, disabled: 0, off: 0 };
  return { ...none, ...Object.fromEntries(rows.map(({ state: name, count }) => [name, count])) };
}
