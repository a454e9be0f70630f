import { sql } from "drizzle-orm";
import { index, jsonb, pgTable } from "drizzle-orm/pg-core";
import { at, bytes } from "../../db/columns.ts";

/** Responses to requests with an `Idempotency-Key` (`http/idempotency`). */
export const idempotency = pgTable(
  "idempotency",
  {
    /** Keyed fingerprints: `key` of actor, route and Idempotency-Key, `body` of the body. */
    key: bytes("key").primaryKey(),
    body: bytes("body").notNull(),
    /** Null while the request is in progress. */
    outcome: jsonb("outcome"),
    claimedAt: at("claimed_at"),
    expiresAt: at("expires_at"),
  },
  (table) => [
    index("idempotency_expires_at").on(table.expiresAt),
    // Finds the responses of registrations by user, to erase them.
    index("idempotency_user").on(sql`(${table.outcome} -> 'value' ->> 'id')`),
  ],
);
