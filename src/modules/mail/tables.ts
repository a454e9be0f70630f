import { sql } from "drizzle-orm";
import { check, index, integer, pgTable, text, timestamp, uuid } from "drizzle-orm/pg-core";
import { at, bytes } from "../../db/columns.ts";

/** Mails that are to be sent, were sent, or cannot be. */
export const mails = pgTable(
  "mails",
  {
    /** Also the first half of its Message-ID, the same at each try. */
    id: uuid("id").primaryKey(),
    kind: text("kind").notNull(),
    /** Empty once the user is deleted. */
    recipient: text("recipient").notNull(),
    /** A keyed fingerprint of the recipient: mails to one email are counted by it, also after the user is deleted. */
    recipientKey: bytes("recipient_key"),
    /** The user that it is about. No reference, because the last notice outlives the user. */
    userId: uuid("user_id"),
    /** A BCP 47 language tag: what the recipient reads, if we have it. */
    locale: text("locale"),
    /** Of what caused it (W3C Trace Context), where that was traced. */
    traceParent: text("trace_parent"),
    /** What is said in it, links and codes too, so nobody reads it in a copy of the database; gone when it was sent. */
    sealed: bytes("sealed"),
    state: text("state").notNull().default("waiting"),
    tries: integer("tries").notNull().default(0),
    /** When to try, or to try again if whoever tries now does not come back. */
    dueAt: at("due_at"),
    createdAt: at("created_at"),
    endedAt: timestamp("ended_at", { withTimezone: true, precision: 3 }),
    /** What the server said last. */
    answer: text("answer"),
  },
  (table) => [
    index("mails_due").on(table.dueAt).where(sql`${table.state} = 'waiting'`),
    index("mails_ended_at").on(table.endedAt),
    index("mails_recipient").on(table.recipientKey, table.kind, table.createdAt),
    index("mails_user_id").on(table.userId),
    check("mails_state", sql`${table.state} in ('waiting', 'sent', 'dead')`),
  ],
);
