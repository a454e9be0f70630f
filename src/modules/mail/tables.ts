import { sql } from "drizzle-orm";
import { check, index, integer, pgTable, text, timestamp, uuid } from "drizzle-orm/pg-core";
import { at, bytes } from "../../db/columns.ts";

/** The mail outbox: mails that wait, were sent, or are dead. */
export const mails = pgTable(
  "mails",
  {
    /** Also the local part of the Message-ID, which is the same at each try. */
    id: uuid("id").primaryKey(),
    kind: text("kind").notNull(),
    /** Empty once the user is deleted. */
    recipient: text("recipient").notNull(),
    /**
     * A keyed fingerprint of the recipient. Mails to one email are counted by it, also after the
     * user is deleted.
     */
    recipientKey: bytes("recipient_key"),
    /**
     * The user that the mail is about. No foreign key, because the last notice outlives the user.
     */
    userId: uuid("user_id"),
    /** The recipient's BCP 47 language tag, if known. */
    locale: text("locale"),
    /** The trace of the request that caused it (W3C Trace Context), if it was traced. */
    traceParent: text("trace_parent"),
    /**
     * The encrypted content with its links and codes, so that a copy of the database does not
     * reveal them. Null once the mail is sent, except in the mailbox of a developer.
     */
    encrypted: bytes("sealed"),
    state: text("state").notNull().default("waiting"),
    tries: integer("tries").notNull().default(0),
    /** When to try next. While a process tries, the time after which another one may take over. */
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
