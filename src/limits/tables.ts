import { index, integer, pgTable } from "drizzle-orm/pg-core";
import { at, bytes } from "../db/columns.ts";

/**
 * What was spent of each limit (`limits/postgres-counters`). Unlogged: it is written often, and a database that crashed begins to count
 * anew. Keys are fingerprints, because people write passwords into the wrong field.
 */
export const limits = pgTable(
  "limits",
  {
    key: bytes("key").primaryKey(),
    spent: integer("spent").notNull(),
    /** What the last request got of what it wanted. */
    granted: integer("granted").notNull(),
    /** From when on the periods are counted. */
    since: at("since"),
    /** From then on nothing is spent any more. */
    endsAt: at("ends_at"),
  },
  (table) => [index("limits_ends_at").on(table.endsAt)],
);
