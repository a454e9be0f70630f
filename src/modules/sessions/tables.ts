import { sql } from "drizzle-orm";
import { check, index, integer, pgTable, text, timestamp, uuid } from "drizzle-orm/pg-core";
import { at, bytes } from "../../db/columns.ts";
import { users } from "../users/tables.ts";

/** A session that ends is deleted: no query can forget that it has ended. */
export const sessions = pgTable(
  "sessions",
  {
    id: uuid("id").primaryKey(),
    userId: uuid("user_id")
      .notNull()
      .references(() => users.id, { onDelete: "cascade" }),
    /** The client IP and the user agent of the sign-in. */
    ip: text("address"),
    userAgent: text("user_agent"),
    /** When the user authenticated (`auth_time`). A refresh does not change it. */
    createdAt: at("created_at"),
    lastUsedAt: at("last_used_at"),
    /** Hashes of the current refresh token, and of the one that was spent for it. */
    currentHash: bytes("current_hash").notNull(),
    previousHash: bytes("previous_hash"),
    /** The current token is derived from the previous one and this, and from neither alone. */
    nonce: bytes("nonce"),
    /** The seed marks each token of this session as issued by this server. */
    seedHash: bytes("seed_hash").notNull(),
    /** How often the token was rotated, and the latest times, newest first. */
    generation: integer("generation").notNull().default(0),
    rotations: timestamp("rotations", { withTimezone: true, precision: 3 })
      .array()
      .notNull()
      .default(sql`'{}'`),
    /** The device that rotated last, if it sent a device token of the user. */
    rotatedByDevice: uuid("rotated_by_device"),
    /** SHA-256 of the network and user agent that rotated last. */
    rotatedByFingerprint: bytes("rotated_by"),
    /** How often the same client sent a spent token again, and got the same successor. */
    retries: integer("retries").notNull().default(0),
  },
  (table) => [
    index("sessions_user_id").on(table.userId, table.createdAt, table.id),
    index("sessions_last_used_at").on(table.lastUsedAt),
    index("sessions_created_at").on(table.createdAt),
    check("sessions_user_agent_length", sql`length(${table.userAgent}) <= 512`),
  ],
);
