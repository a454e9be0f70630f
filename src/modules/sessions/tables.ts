import { sql } from "drizzle-orm";
import { check, index, integer, pgTable, text, timestamp, uuid } from "drizzle-orm/pg-core";
import { at, bytes } from "../../db/columns.ts";
import { users } from "../users/tables.ts";

/** One row for each sign-in; it is gone when the session has ended. */
export const sessions = pgTable(
  "sessions",
  {
    id: uuid("id").primaryKey(),
    userId: uuid("user_id")
      .notNull()
      .references(() => users.id, { onDelete: "cascade" }),
    /** Where the sign-in came from, and what it called itself. */
    address: text("address"),
    userAgent: text("user_agent"),
    /** When its owner proved who they are (`auth_time`): a refresh does not move it. */
    createdAt: at("created_at"),
    lastUsedAt: at("last_used_at"),
    /** Of the refresh token that is good now, and of the one that was spent for it (`credentials/refresh-token`). */
    currentHash: bytes("current_hash").notNull(),
    previousHash: bytes("previous_hash"),
    /** From the previous token and this, and from neither alone, the current token is made. */
    nonce: bytes("nonce"),
    /** Of the seed that marks each token of this session as one that we issued. */
    seedHash: bytes("seed_hash").notNull(),
    /** How often the token was rotated, and when: the last few times, the latest first. */
    generation: integer("generation").notNull().default(0),
    rotations: timestamp("rotations", { withTimezone: true, precision: 3 })
      .array()
      .notNull()
      .default(sql`'{}'`),
    /** The client that rotated last (`modules/sessions/rotation`): its device, if it sent a device token of the user. */
    rotatedByDevice: uuid("rotated_by_device"),
    /** SHA-256 of its network and user agent. */
    rotatedBy: bytes("rotated_by"),
    /** How often a spent refresh token was sent again within the grace, and got the same successor. */
    retries: integer("retries").notNull().default(0),
  },
  (table) => [
    index("sessions_user_id").on(table.userId, table.createdAt, table.id),
    index("sessions_last_used_at").on(table.lastUsedAt),
    index("sessions_created_at").on(table.createdAt),
    check("sessions_user_agent_length", sql`length(${table.userAgent}) <= 512`),
  ],
);
