import { sql } from "drizzle-orm";
import {
  bigint,
  boolean,
  check,
  index,
  integer,
  pgTable,
  text,
  timestamp,
  unique,
  uuid,
} from "drizzle-orm/pg-core";
import { at, bytes, resourceColumns, transactionId } from "../../db/columns.ts";

const maybeAt = (name: string) => timestamp(name, { withTimezone: true, precision: 3 });

/** URLs to which events are sent (Standard Webhooks). */
export const webhooks = pgTable(
  "webhooks",
  {
    ...resourceColumns,
    url: text("url").notNull(),
    /** Event types, or only `*` for all of them. */
    events: text("events").array().notNull(),
    description: text("description"),
    isEnabled: boolean("is_enabled").notNull(),
    /** Sends one event at a time, in the order of events. */
    isOrdered: boolean("is_ordered").notNull(),
    encryptedSecret: bytes("secret").notNull(),
    /** Also signs until its time, after a rotation. */
    encryptedPreviousSecret: bytes("previous_secret"),
    previousSecretUntil: maybeAt("previous_secret_until"),
    /** The last event that was considered: a delivery of it exists if the webhook wants it. */
    transactionId: transactionId("transaction_id").notNull(),
    position: bigint("position", { mode: "bigint" }).notNull(),
    /** When the oldest event was queued that failed several times, with no success since. */
    failingSince: maybeAt("failing_since"),
    /** Why Bunker disabled it. */
    disabledReason: text("disabled_reason"),
  },
  (table) => [
    check("webhooks_url_length", sql`length(${table.url}) <= 2048`),
    check("webhooks_description_length", sql`length(${table.description}) <= 200`),
  ],
);

/** The events that are or were sent to a webhook. The event itself is in `events`. */
export const webhookDeliveries = pgTable(
  "webhook_deliveries",
  {
    id: uuid("id").primaryKey(),
    /** No foreign key: to delete a month of deliveries can take longer than a request may. */
    webhookId: uuid("webhook_id").notNull(),
    /** No foreign key: old events are deleted first, or later. */
    eventId: uuid("event_id").notNull(),
    eventType: text("event_type").notNull(),
    /** The place of the event in the order of events. */
    transactionId: transactionId("transaction_id").notNull(),
    position: bigint("position", { mode: "bigint" }).notNull(),
    /** `dropped`: never sent, because the event is no longer stored. */
    state: text("state").notNull().default("waiting"),
    attempts: integer("attempts").notNull().default(0),
    /** Begins the three days of retries. A redelivery begins them again. */
    queuedAt: at("queued_at"),
    /** When to try next. During an attempt, when another process may take over. */
    dueAt: at("due_at"),
    /** While a process has it. */
    leasedUntil: maybeAt("leased_until"),
    createdAt: at("created_at"),
    endedAt: maybeAt("ended_at"),
    /** Of the latest attempt. */
    responseStatus: integer("response_status"),
    responseBody: text("response_body"),
    durationMs: integer("duration_ms"),
    /** Why there was no response. */
    error: text("error"),
  },
  (table) => {
    const isWaiting = sql`${table.state} = 'waiting'`;
    return [
      unique("webhook_deliveries_event").on(table.webhookId, table.eventId),
      index("webhook_deliveries_due").on(table.webhookId, table.dueAt).where(isWaiting),
      index("webhook_deliveries_order")
        .on(table.webhookId, table.transactionId, table.position)
        .where(isWaiting),
      index("webhook_deliveries_created_at").on(table.webhookId, table.createdAt, table.id),
      index("webhook_deliveries_unsent")
        .on(table.webhookId, table.createdAt, table.id)
        .where(sql`${table.state} in ('failed', 'dropped')`),
      check(
        "webhook_deliveries_state",
        sql`${table.state} in ('waiting', 'delivered', 'failed', 'dropped')`,
      ),
    ];
  },
);
