import { sql } from "drizzle-orm";
import { index, jsonb, pgTable } from "drizzle-orm/pg-core";
import { at, bytes } from "../../db/columns.ts";

/** What was answered to requests that carried an Idempotency-Key (`http/idempotency`). */
export const idempotency = pgTable(
  "idempotency",
  {
    /** Keyed fingerprints: of who asks, where, and by which key; and of the body. */
    key: bytes("key").primaryKey(),
    body: bytes("body").notNull(),
    /** Missing while it is being worked out. */
    outcome: jsonb("outcome"),
    claimedAt: at("claimed_at"),
    expiresAt: at("expires_at"),
  },
  (table) => [
    index("idempotency_expires_at").on(table.expiresAt),
    // The user that a registration answered with.
    index("idempotency_user").on(sql`(${table.outcome} -> 'value' ->> 'id')`),
  ],
);
