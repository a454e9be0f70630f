import { sql } from "drizzle-orm";
import { check, index, pgTable, text, uuid } from "drizzle-orm/pg-core";
import { at, bytes } from "../../db/columns.ts";

/** Confidential OAuth clients (RFC 6749, section 2.1): programs with their own secret. */
export const clients = pgTable(
  "clients",
  {
    id: uuid("id").primaryKey(),
    name: text("name").notNull(),
    /** SHA-256 of the secret, which has 256 random bits. */
    secretHash: bytes("secret_hash").notNull(),
    /** The hash of the previous secret during a rotation. */
    previousSecretHash: bytes("previous_secret_hash"),
    createdAt: at("created_at"),
    rotatedAt: at("rotated_at"),
  },
  (table) => [check("clients_name_length", sql`length(${table.name}) between 1 and 100`)],
);

/** OAuth clients' own access tokens that were revoked before they expired. */
export const revokedTokens = pgTable(
  "revoked_tokens",
  {
    /** The token's `jti`. */
    id: uuid("id").primaryKey(),
    expiresAt: at("expires_at"),
  },
  (table) => [index("revoked_tokens_expires_at").on(table.expiresAt)],
);
