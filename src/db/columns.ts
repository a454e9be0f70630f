import { customType, timestamp } from "drizzle-orm/pg-core";

/** A time: UTC with milliseconds. (Keys are UUIDv7, which Bunker makes, not the database.) */
export const at = (name: string) => timestamp(name, { withTimezone: true, precision: 3 }).notNull();

/** Binary data such as SHA-256 hashes. */
export const bytes = customType<{ data: Buffer }>({ dataType: () => "bytea" });

/** The id of a transaction, which never wraps around. */
export const transactionId = customType<{ data: string }>({ dataType: () => "xid8" });
