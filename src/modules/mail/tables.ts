import { sql } from "drizzle-orm";
import { check, index, integer, pgTable, text, timestamp, uuid } from "drizzle-orm/pg-core";
import { at, bytes } from "../../db/columns.ts";

/** The mail outbox: mails that wait, were sent, or are dead. */
export const mails = pgTable(
  "mails",
  {
    /** Also the local part of the Message-ID, the same at each try. */
    id: uuid("id").primaryKey(),
    kind: text("kind").notNull(),
    /** Empty once the user is deleted. */
    recipient: text("recipient").notNull(),
    /** A keyed fingerprint that counts mails to one email, also after the user is deleted. */
    recipientKey: bytes("recipient_key"),
    /** No foreign key, because the last notice outlives the user. */
    userId: uuid("user_id"),
    /** A BCP 47 language tag. */
    locale: text("locale"),
    /** The trace of the request (W3C Trace Context). */
    traceParent: text("trace_parent"),
    /** Has links and codes. Null once the mail is sent, except in the mailbox of a developer. */
    encrypted: bytes("sealed"),
    state: text("state").notNull().default("waiting"),
    tries: integer("tries").notNull().default(0),
    /** When to try next. During a try, when another process may take over. */
    dueAt: at("due_at"),
    createdAt: at("created_at"),
    endedAt: timestamp("ended_at", { withTimezone: true, precision: 3 }),
    /** The latest reply of the mail server. */
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
