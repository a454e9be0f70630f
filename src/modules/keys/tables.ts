import { sql } from "drizzle-orm";
import { check, jsonb, pgTable, text, uniqueIndex } from "drizzle-orm/pg-core";
import type { Jwk, PairAlgorithm, StoredKey } from "../../credentials/key-ring.ts";
import { at, bytes } from "../../db/columns.ts";

/** Key pairs that sign access tokens. The private keys are encrypted (`credentials/key-ring`). */
export const signingKeys = pgTable(
  "signing_keys",
  {
    kid: text("kid").primaryKey(),
    algorithm: text("algorithm").$type<PairAlgorithm>().notNull(),
    /** A `next` key does not sign yet; a `retired` key no longer signs. */
    state: text("state").$type<StoredKey["state"]>().notNull(),
    publicJwk: jsonb("public_jwk").$type<Jwk>().notNull(),
    encryptedKey: bytes("wrapped").notNull(),
    encryptedWith: text("wrapped_by").notNull(),
    createdAt: at("created_at"),
    changedAt: at("changed_at"),
  },
  (table) => [
    uniqueIndex("signing_keys_one_in_each_state")
      .on(table.algorithm, table.state)
      .where(sql`${table.state} <> 'retired'`),
    check("signing_keys_algorithm", sql`${table.algorithm} in ('EdDSA', 'ES256')`),
    check("signing_keys_state", sql`${table.state} in ('next', 'current', 'retired')`),
  ],
);

/** Until when tokens of each key may be valid. An HS256 secret has a row, too. */
export const keyUses = pgTable("key_uses", {
  kid: text("kid").primaryKey(),
  acceptedUntil: at("accepted_until"),
});
