import { bigint, boolean, index, integer, pgTable, text, unique, uuid } from "drizzle-orm/pg-core";
import { at, bytes } from "../../db/columns.ts";
import { users } from "../users/tables.ts";

/** Mailed links that work once (`modules/links`). A spent link has no row. */
export const mailedLinks = pgTable(
  "one_time_secrets",
  {
    id: uuid("id").primaryKey(),
    /** The order of insertion, independent of the clocks of the instances. */
    position: bigint("position", { mode: "bigint" }).generatedAlwaysAsIdentity(),
    purpose: text("purpose").notNull(),
    userId: uuid("user_id")
      .notNull()
      .references(() => users.id, { onDelete: "cascade" }),
    /**
     * The user's email key when the link was sent: another email ends the link. Null: any email.
     */
    addressKey: text("address_key"),
    /** The email that the link sets. */
    newEmail: text("new_email"),
    hash: bytes("hash").notNull(),
    /** A MAC of the six-digit code: a plain hash is reversed by a million guesses. */
    codeMac: bytes("code_mac"),
    codeTries: integer("code_tries").notNull().default(0),
    createdAt: at("created_at"),
    expiresAt: at("expires_at"),
  },
  (table) => [
    unique("one_time_secrets_hash").on(table.hash),
    index("one_time_secrets_user_id").on(table.userId, table.purpose, table.createdAt),
    index("one_time_secrets_expires_at").on(table.expiresAt),
  ],
);

/** Requested links, whether or not a user has the email. A job answers and deletes them. */
export const mailRequests = pgTable(
  "mail_requests",
  {
    id: uuid("id").primaryKey(),
    purpose: text("purpose").notNull(),
    email: text("email").notNull(),
    /** The user whose email is to change. */
    userId: uuid("user_id").references(() => users.id, { onDelete: "cascade" }),
    /** The client is a known device of the user of this email: its mails count apart. */
    isFromKnownDevice: boolean("is_from_known_device").notNull().default(false),
    /** The trace of the request (W3C Trace Context). */
    traceParent: text("trace_parent"),
    createdAt: at("created_at"),
  },
  (table) => [
    index("mail_requests_created_at").on(table.createdAt),
    index("mail_requests_user_id").on(table.userId),
  ],
);
