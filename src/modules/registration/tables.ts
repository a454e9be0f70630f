import { sql } from "drizzle-orm";
import { bigint, check, index, pgTable, text, unique, uuid } from "drizzle-orm/pg-core";
import { at, bytes } from "../../db/columns.ts";

/**
 * Registrations that wait for their email to be verified (`REQUIRE_EMAIL_VERIFICATION=on`). Each
 * has a row, also if a user has the email: then no link is mailed. Each further link has a row too.
 */
export const registrations = pgTable(
  "registrations",
  {
    id: uuid("id").primaryKey(),
    /** The order of insertion, independent of the clocks of the instances. */
    position: bigint("position", { mode: "bigint" }).generatedAlwaysAsIdentity(),
    purpose: text("purpose").$type<"verify_email" | "reset_password">().notNull(),
    email: text("email").notNull(),
    emailKey: text("email_key").notNull(),
    /** The wanted username. It is not reserved. */
    username: text("username"),
    fullName: text("full_name"),
    locale: text("locale"),
    /** Null for a link that sets another password. */
    passwordHash: text("password_hash"),
    /** The hash of the link's token. Null if no link was mailed. */
    hash: bytes("hash"),
    /** The same for further links. */
    createdAt: at("created_at"),
    /** When the link expires. The row is kept for a week, and until then. */
    expiresAt: at("expires_at"),
  },
  (table) => [
    unique("registrations_hash").on(table.hash),
    index("registrations_email_key").on(table.emailKey, table.position),
    index("registrations_created_at").on(table.createdAt),
    check("registrations_purpose", sql`${table.purpose} in ('verify_email', 'reset_password')`),
  ],
);
