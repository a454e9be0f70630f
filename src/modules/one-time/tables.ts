import { bigint, boolean, index, integer, pgTable, text, unique, uuid } from "drizzle-orm/pg-core";
import { at, bytes } from "../../db/columns.ts";
import { users } from "../users/tables.ts";

/** Links that were mailed and work once (`modules/one-time`); what is spent has no row. */
export const oneTimeSecrets = pgTable(
  "one_time_secrets",
  {
    id: uuid("id").primaryKey(),
    /** Which came first, whatever the clocks of several instances say. */
    position: bigint("position", { mode: "bigint" }).generatedAlwaysAsIdentity(),
    purpose: text("purpose").notNull(),
    userId: uuid("user_id")
      .notNull()
      .references(() => users.id, { onDelete: "cascade" }),
    /** The account's address when it was sent, folded: with another one the link is good no more. Null: whatever it is. */
    addressKey: text("address_key"),
    /** The address that it gives to the account. */
    newEmail: text("new_email"),
    hash: bytes("hash").notNull(),
    /** Of the six digits that do the same, under a key of the server: a million guesses undo a plain hash. */
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

/** Links that somebody asked for, whoever has that address: a job finds out, and removes the row. */
export const mailRequests = pgTable(
  "mail_requests",
  {
    id: uuid("id").primaryKey(),
    purpose: text("purpose").notNull(),
    email: text("email").notNull(),
    /** Whose account the address is to be of, where somebody asks for that. */
    userId: uuid("user_id").references(() => users.id, { onDelete: "cascade" }),
    /**
     * The client is a known device of the user of this email: its mails count apart from those of
     * other clients.
     */
    isFromKnownDevice: boolean("is_from_known_device").notNull().default(false),
    /** Of the request that asked (W3C Trace Context), where that was traced. */
    traceParent: text("trace_parent"),
    createdAt: at("created_at"),
  },
  (table) => [
    index("mail_requests_created_at").on(table.createdAt),
    index("mail_requests_user_id").on(table.userId),
  ],
);
