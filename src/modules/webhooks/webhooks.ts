import { and, eq, sql } from "drizzle-orm";
import { requireAdministrator } from "../../access.ts";
import { newWebhookSecret } from "../../credentials/webhook-secret.ts";
import type { Actor, Ctx } from "../../ctx.ts";
import { advisoryLocks } from "../../db/locks.ts";
import type { List } from "../../db/page.ts";
import { deleteRow, getRow, insertRow, listRows, type Target, updateRow } from "../../db/rows.ts";
import { transaction } from "../../db/transaction.ts";
import { eventTypes, isEventType } from "../../kit/event-types.ts";
import { readLine } from "../../kit/names.ts";
import { accept, type FieldProblem, fieldProblem, Problem, Stale } from "../../kit/problem.ts";
import { readWebhookUrl } from "../../kit/webhook-url.ts";
import { record } from "../events/events.ts";
import { latestCursor } from "../events/feed.ts";
import { encryptSecret } from "./secrets.ts";
import { webhookDeliveries, webhooks } from "./tables.ts";

export type Webhook = typeof webhooks.$inferSelect;

/** Undefined leaves a field as it is. */
export interface WebhookChanges {
  url?: string | undefined;
  events?: readonly string[] | undefined;
  description?: string | null | undefined;
  isEnabled?: boolean | undefined;
  isOrdered?: boolean | undefined;
}
export interface NewWebhook extends WebhookChanges {
  url: string;
  events: readonly string[];
}

/** Of all event types, also of later ones. */
export const ALL_EVENTS = "*";
const WEBHOOKS_MAX = 100;
const DESCRIPTION_MAX = 200;
const every = sql`true`;

/** Newest first. Throws `forbidden`. */
export function listWebhooks(ctx: Ctx, actor: Actor): List<Webhook> {
  requireAdministrator(actor);
  return listRows(ctx, webhooks, every);
}

/** Throws `forbidden`, `not_found`. */
export async function getWebhook(ctx: Ctx, actor: Actor, id: string): Promise<Webhook> {
  requireAdministrator(actor);
  return getRow(ctx, webhooks, { id, where: every });
}

/**
 * Gets the events that are recorded from now on. Returns the secret, which is not shown again.
 * Throws `forbidden`, `invalid_request`, `too_many_webhooks`.
 */
export async function createWebhook(
  ctx: Ctx,
  actor: Actor,
  input: NewWebhook,
): Promise<{ webhook: Webhook; secret: string }> {
  requireAdministrator(actor);
  const { url, events, description } = readWebhook(ctx, input);
  const secret = newWebhookSecret();
  const webhook = await transaction(ctx, async (tx) => {
    await tx.db.execute(sql`select pg_advisory_xact_lock(${advisoryLocks.webhooks})`);
    if ((await tx.db.$count(webhooks)) >= WEBHOOKS_MAX) throw new Problem("too_many_webhooks");
    const created = await insertRow(tx, webhooks, {
      url: url ?? input.url,
      events: events ?? [],
      description: description ?? null,
      isEnabled: input.isEnabled ?? true,
      isOrdered: input.isOrdered ?? false,
      encryptedSecret: encryptSecret(ctx, secret),
      ...(await latestCursor(tx)),
    });
    await record(tx, actor, { type: "webhook.created", subjectId: created.id, data: {} });
    return created;
  });
  // The job would listen for events only after its next run.
  ctx.eventSignal.setActive("webhooks", true);
  return { webhook, secret };
}

/** Throws `invalid_request` with all invalid fields. */
function readWebhook({ config }: Ctx, { url, events, description }: WebhookChanges) {
  return accept({
    url: url === undefined ? undefined : readWebhookUrl(url, config),
    events: events && readEventTypes(events),
    description:
      typeof description === "string"
        ? readLine("/description", description, DESCRIPTION_MAX)
        : description,
  });
}

/** With `*`, any other type is redundant. */
export function readEventTypes(names: readonly string[]): string[] | FieldProblem {
  if (names.length === 0) return fieldProblem("/events", "too_short", "needs at least one type");
  const unknown = names.findIndex((name) => name !== ALL_EVENTS && !isEventType(name));
  if (unknown >= 0) return fieldProblem(`/events/${unknown}`, "not_allowed");
  if (names.includes(ALL_EVENTS)) return [ALL_EVENTS];
  return eventTypes.filter((type) => names.includes(type));
}

/**
 * Changes the given fields. Another URL, or enabling it again, ends that it counts as failing:
 * waiting deliveries are due at once. Throws `forbidden`, `not_found`, `invalid_request`, `stale`.
 */
export async function updateWebhook(
  ctx: Ctx,
  actor: Actor,
  { id, versions, ...input }: Target & WebhookChanges,
): Promise<Webhook> {
  requireAdministrator(actor);
  const { isEnabled, isOrdered } = input;
  const set = { ...readWebhook(ctx, input), isEnabled, isOrdered };
  return transaction(ctx, async (tx) => {
    const before = await lockWebhook(tx, id);
    if (versions?.every((version) => version.getTime() !== before.updatedAt.getTime()))
      throw new Stale(before.updatedAt);
    const changed = changedFields(before, set);
    if (changed.length === 0) return before;
    const isRetried = changed.includes("url") || (changed.includes("isEnabled") && isEnabled);
    const values = {
      ...set,
      ...(isRetried ? { failingSince: null } : {}),
      ...(isEnabled ? { disabledReason: null } : {}),
    };
    const webhook = await updateRow(tx, webhooks, { id, where: every, set: values });
    if (isRetried) await retryWaiting(tx, id);
    const fields = changed.map((field) => wireNames[field]);
    await record(tx, actor, { type: "webhook.updated", subjectId: id, data: { fields } });
    return webhook;
  });
}

const wireNames = {
  url: "url",
  events: "events",
  description: "description",
  isEnabled: "enabled",
  isOrdered: "ordered",
} as const satisfies Record<keyof WebhookChanges, string>;
type Field = keyof typeof wireNames;

const changedFields = (before: Webhook, set: WebhookChanges): Field[] =>
  (Object.keys(wireNames) as Field[]).filter(
    (field) => set[field] !== undefined && !Bun.deepEquals(set[field], before[field]),
  );

/** In the caller's transaction. Throws `not_found`. */
async function lockWebhook({ db }: Ctx, id: string): Promise<Webhook> {
  const [webhook] = await db
    .select()
    .from(webhooks)
    .where(eq(webhooks.id, id))
    .for("no key update");
  if (!webhook) throw new Problem("not_found");
  return webhook;
}

/** Begins the three days of all waiting deliveries again. Attempts in flight go on. */
async function retryWaiting({ db, now }: Ctx, webhookId: string): Promise<void> {
  const { state } = webhookDeliveries;
  const time = now();
  await db
    .update(webhookDeliveries)
    .set({ queuedAt: time, attempts: 0, dueAt: dueOnceFree(time) })
    .where(and(eq(webhookDeliveries.webhookId, webhookId), eq(state, "waiting")));
}

/** The time, or the end of the lease: a delivery is never attempted twice at once. */
export const dueOnceFree = (time: Date) =>
  sql`greatest(${time.toISOString()}::timestamptz, ${webhookDeliveries.leasedUntil})`;

/** A job deletes its deliveries. Throws `forbidden`, `not_found`, `stale`. */
export async function deleteWebhook(ctx: Ctx, actor: Actor, target: Target): Promise<void> {
  requireAdministrator(actor);
  await transaction(ctx, async (tx) => {
    await deleteRow(tx, webhooks, { ...target, where: every });
    await record(tx, actor, { type: "webhook.deleted", subjectId: target.id, data: {} });
  });
}

const HOUR_MS = 3_600_000;
/** For how long deliveries are signed with the previous secret too. */
const OVERLAP_MS = 24 * HOUR_MS;

/**
 * Returns a new secret. The current one signs for another 24 hours, an earlier one no longer.
 * Throws `forbidden`, `not_found`.
 */
export async function rotateSecret(
  ctx: Ctx,
  actor: Actor,
  id: string,
): Promise<{ webhook: Webhook; secret: string }> {
  requireAdministrator(actor);
  const secret = newWebhookSecret();
  const webhook = await transaction(ctx, async (tx) => {
    const rotated = await updateRow(tx, webhooks, {
      id,
      where: every,
      set: {
        encryptedSecret: encryptSecret(ctx, secret),
        encryptedPreviousSecret: sql`${webhooks.encryptedSecret}`,
        previousSecretUntil: new Date(ctx.now().getTime() + OVERLAP_MS),
      },
    });
    await record(tx, actor, { type: "webhook.secret_rotated", subjectId: id, data: {} });
    return rotated;
  });
  return { webhook, secret };
}
