import { sql } from "drizzle-orm";
import { bigint, check, index, jsonb, pgTable, text, timestamp, uuid } from "drizzle-orm/pg-core";
import { at, transactionId } from "../../db/columns.ts";

/** Every change, recorded in the transaction that made it. Events outlive what they are about. */
export const events = pgTable(
  "events",
  {
    id: uuid("id").primaryKey(),
    /**
     * A reader's cursor. Transactions commit out of order: a reader that pages by `(transaction_id,
     * position)` and stops below `settled_transaction_id()` misses nothing. The functions of
     * migration 0022 add an offset to PostgreSQL's ids, so that ids still increase after the
     * database was restored on another server (`modules/events/order`).
     */
    position: bigint("position", { mode: "bigint" }).generatedAlwaysAsIdentity(),
    transactionId: transactionId("transaction_id").notNull().default(sql`event_transaction_id()`),
    type: text("type").notNull(),
    occurredAt: at("occurred_at"),
    /** `anonymous` (`stranger` in old rows), `user` (then `actor_id` is set) or `operator`. */
    actorKind: text("actor_kind").notNull(),
    actorId: uuid("actor_id"),
    /** The user or OAuth client that the event is about; null if it is about all of them. */
    subjectId: uuid("subject_id"),
    ip: text("address"),
    userAgent: text("user_agent"),
    requestId: text("request_id"),
    data: jsonb("data").notNull(),
  },
  (table) => [
    index("events_position").on(table.transactionId, table.position),
    index("events_subject").on(table.subjectId, table.occurredAt, table.id),
    index("events_actor_origin")
      .on(table.actorId, table.id)
      .where(
        sql`${table.actorId} is not null and (${table.ip} is not null or ${table.userAgent} is not null)`,
      ),
    check(
      "events_actor_kind",
      sql`${table.actorKind} in ('anonymous', 'stranger', 'user', 'operator')`,
    ),
    check("events_user_agent_length", sql`length(${table.userAgent}) <= 512`),
  ],
);

/**
 * Cursors into the events. `purged`: events up to it may have been deleted. `broker`: up to it,
 * events are published (BROKER_URL); one process at a time publishes, while it holds the lease.
 */
export const eventCursors = pgTable("event_cursors", {
  name: text("name").primaryKey(),
  transactionId: transactionId("transaction_id").notNull(),
  position: bigint("position", { mode: "bigint" }).notNull(),
  holder: text("holder"),
  /** By the clock of the database, which all processes share. */
  leasedUntil: timestamp("leased_until", { withTimezone: true, precision: 3 }),
});

/** Deleted users whose IPs and user agents may still be in `events` (`modules/events/erasure`). */
export const erasures = pgTable("erasures", {
  userId: uuid("user_id").primaryKey(),
  createdAt: at("created_at"),
});
