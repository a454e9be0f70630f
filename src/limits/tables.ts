import { index, integer, pgTable } from "drizzle-orm/pg-core";
import { at, bytes } from "../db/columns.ts";

/**
 * Unlogged, because it is written often: after a crash of the database, all counters start at zero.
 * Keys are fingerprints, because users sometimes type a password into the wrong field.
 */
export const limits = pgTable(
  "limits",
  {
    key: bytes("key").primaryKey(),
    spent: integer("spent").notNull(),
    /** How much of its count the last request got. */
    granted: integer("granted").notNull(),
    /** When the current period starts. */
    since: at("since"),
    /** When the counter is back at zero. */
    endsAt: at("ends_at"),
  },
  (table) => [index("limits_ends_at").on(table.endsAt)],
);
