import { customType, timestamp } from "drizzle-orm/pg-core";

/** Types of columns. Keys are UUIDv7, made by us; times are UTC with milliseconds. */
export const at = (name: string) => timestamp(name, { withTimezone: true, precision: 3 }).notNull();

/** SHA-256 and the like: bytes, never text. */
export const bytes = customType<{ data: Buffer }>({ dataType: () => "bytea" });

/** The id of a transaction, which never wraps around. */
export const transactionId = customType<{ data: string }>({ dataType: () => "xid8" });
