import { and, desc, eq, isNotNull, sql } from "drizzle-orm";
import type { Ctx } from "../../ctx.ts";
import { nextVersion, updateRow } from "../../db/rows.ts";
import { transaction } from "../../db/transaction.ts";
import { record } from "../events/events.ts";
import { enqueueMail } from "../mail/mail.ts";
import { userColumns, users } from "../users/tables.ts";
import { type Attempt, DAY_MS, waitMsAfter } from "./attempt.ts";
import type { Claimed } from "./claims.ts";
import { webhookDeliveries, webhooks } from "./tables.ts";
import { dueOnceFree } from "./webhooks.ts";

/** The outcome of an attempt. Undefined if the event is no longer stored. */
export interface Result {
  claimed: Claimed;
  attempt: Attempt | undefined;
}

const operator = { kind: "operator" } as const;
/** A delivery fails after this, and a webhook without any success is disabled. */
const RETRIED_FOR_MS = 3 * DAY_MS;
/** A webhook counts as failing if an event failed this often: after some 15 s. */
const FAILING_ATTEMPTS = 5;
const RECOVERED_AFTER_MS = 60_000;
const GONE = 410;

/** Stores results of one webhook. Returns whether it was disabled because of them. */
export async function writeResults(
  ctx: Ctx,
  webhookId: string,
  results: Result[],
): Promise<boolean> {
  const written = results.map((result) => rowOf(ctx, result));
  const isDisabled = await transaction(ctx, async (tx) => {
    // First, because every transaction locks the webhook before its deliveries.
    const isOff = await updateHealth(tx, webhookId, results);
    await updateDeliveries(tx, written);
    return isOff;
  });
  for (const { state } of written) ctx.metrics.recordWebhook(metricResults[state]);
  return isDisabled;
}

type State = "waiting" | "delivered" | "failed" | "dropped";
export const metricResults = {
  waiting: "deferred",
  delivered: "delivered",
  failed: "failed",
  dropped: "dropped",
} as const satisfies Record<State, string>;

function rowOf({ now }: Ctx, { claimed: { delivery }, attempt }: Result) {
  const time = now();
  const attempts = delivery.attempts + 1;
  const isOld = time.getTime() - delivery.queuedAt.getTime() >= RETRIED_FOR_MS;
  const state = stateAfter(attempt, isOld);
  const waitMs = state === "waiting" ? waitMsAfter(attempts, attempt?.retryAfterSeconds) : 0;
  return {
    id: delivery.id,
    state,
    due_at: new Date(time.getTime() + waitMs),
    ended_at: state === "waiting" ? null : time,
    response_status: attempt?.responseStatus ?? null,
    response_body: attempt?.responseBody ?? null,
    error: attempt ? attempt.error : "The event is no longer stored.",
    duration_ms: attempt?.durationMs ?? null,
  };
}

function stateAfter(attempt: Attempt | undefined, isOld: boolean): State {
  if (!attempt) return "dropped";
  if (attempt.isSuccess) return "delivered";
  // The webhook of a receiver that is gone is disabled; its deliveries wait until it is enabled.
  return isOld && attempt.responseStatus !== GONE ? "failed" : "waiting";
}

/** One statement for all of them. */
const updateDeliveries = ({ db }: Ctx, rows: ReturnType<typeof rowOf>[]) =>
  db.execute(sql`
    update webhook_deliveries set
      state = result.state, attempts = attempts + 1, due_at = result.due_at,
      leased_until = null, ended_at = result.ended_at,
      response_status = result.response_status, response_body = result.response_body,
      error = result.error, duration_ms = result.duration_ms
    from jsonb_to_recordset(${JSON.stringify(rows)}::text::jsonb) as result(
      id uuid, state text, due_at timestamptz, ended_at timestamptz, response_status integer,
      response_body text, error text, duration_ms integer)
    where webhook_deliveries.id = result.id and webhook_deliveries.state = 'waiting'`);

async function updateHealth(tx: Ctx, webhookId: string, results: Result[]): Promise<boolean> {
  const failures = results.filter(({ attempt }) => attempt && !attempt.isSuccess);
  if (failures.some(({ attempt }) => attempt?.responseStatus === GONE))
    return disable(tx, webhookId, "The receiver answered 410 Gone.");
  if (results.some(({ attempt }) => attempt?.isSuccess)) {
    await recover(tx, webhookId);
    return false;
  }
  const queuedTimes = failures
    .filter(
      ({ claimed: { delivery, webhook } }) =>
        delivery.attempts + 1 >= FAILING_ATTEMPTS || webhook.failingSince !== null,
    )
    .map(({ claimed }) => claimed.delivery.queuedAt.getTime());
  return queuedTimes.length > 0 && markFailing(tx, webhookId, queuedTimes);
}

/** Deliveries that wait because of a longer outage are due at once. */
async function recover(tx: Ctx, id: string): Promise<void> {
  const isFailing = and(eq(webhooks.id, id), isNotNull(webhooks.failingSince));
  const [failing] = await tx.db
    .select({ since: webhooks.failingSince })
    .from(webhooks)
    .where(isFailing)
    .for("no key update");
  if (!failing?.since) return;
  await updateRow(tx, webhooks, { id, where: isFailing, set: { failingSince: null } });
  const time = tx.now();
  if (time.getTime() - failing.since.getTime() < RECOVERED_AFTER_MS) return;
  const isWaiting = eq(webhookDeliveries.state, "waiting");
  await tx.db
    .update(webhookDeliveries)
    .set({ dueAt: dueOnceFree(time) })
    .where(and(eq(webhookDeliveries.webhookId, id), isWaiting));
}

/** Notes since when a webhook fails. Disables it after three days. */
async function markFailing(tx: Ctx, id: string, queuedTimes: number[]): Promise<boolean> {
  const isTarget = eq(webhooks.id, id);
  const [webhook] = await tx.db.select().from(webhooks).where(isTarget).for("no key update");
  if (!webhook) return false;
  const since = webhook.failingSince ?? (await outageSince(tx, id, queuedTimes));
  if (!since) return false;
  if (!webhook.failingSince)
    await updateRow(tx, webhooks, { id, where: isTarget, set: { failingSince: since } });
  const isExpired = tx.now().getTime() - since.getTime() >= RETRIED_FOR_MS;
  return isExpired && disable(tx, id, "No event could be delivered for 3 days.");
}

/**
 * The earliest of these times that is later than the last success. Undefined if there is none: then
 * only these events fail, not the webhook.
 */
async function outageSince({ db }: Ctx, id: string, queuedTimes: number[]) {
  const { webhookId, state, createdAt, endedAt } = webhookDeliveries;
  const [last] = await db
    .select({ endedAt })
    .from(webhookDeliveries)
    .where(and(eq(webhookId, id), eq(state, "delivered")))
    .orderBy(desc(createdAt), desc(webhookDeliveries.id))
    .limit(1);
  const succeededAt = last?.endedAt?.getTime() ?? 0;
  const later = queuedTimes.filter((time) => time > succeededAt);
  return later.length > 0 ? new Date(Math.min(...later)) : undefined;
}

/** Also mails the superusers. True also if another process has disabled it. */
async function disable(tx: Ctx, id: string, disabledReason: string): Promise<boolean> {
  const isTarget = and(eq(webhooks.id, id), webhooks.isEnabled);
  const [webhook] = await tx.db
    .update(webhooks)
    .set({ isEnabled: false, disabledReason, updatedAt: nextVersion(tx, webhooks) })
    .where(isTarget)
    .returning();
  if (!webhook) return true;
  const data = { reason: disabledReason };
  await record(tx, operator, { type: "webhook.disabled", subjectId: id, data });
  tx.log.warn({ webhook_id: id, reason: disabledReason }, "Webhook disabled.");
  const superusers = await tx.db
    .select(userColumns)
    .from(users)
    .where(and(users.isSuperuser, users.isActive, users.emailVerified))
    .limit(MAILED_MAX);
  const details = { endpoint: new URL(webhook.url).host, id };
  for (const to of superusers) await enqueueMail(tx, { kind: "webhook_disabled", to, details });
  return true;
}
const MAILED_MAX = 100;
