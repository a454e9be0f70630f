import { customType, timestamp, uuid } from "drizzle-orm/pg-core";

/** A time: UTC with milliseconds. (Keys are UUIDv7, which Bunker makes, not the database.) */
export const at = (name: string) => timestamp(name, { withTimezone: true, precision: 3 }).notNull();

/** The columns that every resource has (`db/rows`). Our code makes the id. */
export const resourceColumns = {
  id: uuid("id").primaryKey(),
  createdAt: at("created_at"),
  updatedAt: at("updated_at"),
};

/** Binary data such as SHA-256 hashes. */
export const bytes = customType<{ data: Buffer }>({ dataType: () => "bytea" });

/** The id of a transaction, which never wraps around. */
export const transactionId = customType<{ data: string }>({ dataType: () => "xid8" });
