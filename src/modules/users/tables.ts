import { sql } from "drizzle-orm";
import { boolean, check, index, pgTable, text, timestamp, unique, uuid } from "drizzle-orm/pg-core";
import { at } from "../../db/columns.ts";

export const users = pgTable(
  "users",
  {
    id: uuid("id").primaryKey(),
    /** As its owner wrote it; compared by `email_key`, which our code folds (not `lower()`: that asks the locale). */
    email: text("email").notNull(),
    emailKey: text("email_key").notNull(),
    username: text("username").notNull(),
    usernameKey: text("username_key").notNull(),
    fullName: text("full_name"),
    /** A BCP 47 language tag. */
    locale: text("locale"),
    passwordHash: text("password_hash").notNull(),
    isActive: boolean("is_active").notNull().default(true),
    isSuperuser: boolean("is_superuser").notNull().default(false),
    emailVerified: boolean("email_verified").notNull().default(false),
    /**
     * What it is to be called once its address is proven, where that is required before anybody signs in: a username that is
     * taken at once would tell whether somebody has the address already.
     */
    wantedUsername: text("wanted_username"),
    /** Whoever signed in before may have been somebody else: a device token of an earlier time is not known any more. */
    devicesKnownSince: timestamp("devices_known_since", { withTimezone: true, precision: 3 }),
    createdAt: at("created_at"),
    /** Set by our code; a trigger sets it for whoever forgets, us included. */
    updatedAt: at("updated_at"),
  },
  (table) => [
    unique("users_email_key").on(table.emailKey),
    unique("users_username_key").on(table.usernameKey),
    index("users_created_at_id").on(table.createdAt, table.id),
    index("users_never_proven").on(table.updatedAt).where(sql`${table.wantedUsername} is not null`),
    index("users_superusers").on(table.id).where(sql`${table.isSuperuser}`),
    check("users_email_length", sql`length(${table.email}) between 3 and 254`),
    check("users_email_key_length", sql`length(${table.emailKey}) between 3 and 254`),
    check("users_username_shape", sql`${table.username} ~ '^[A-Za-z0-9._-]{3,32}$'`),
    check("users_wanted_username_shape", sql`${table.wantedUsername} ~ '^[A-Za-z0-9._-]{3,32}$'`),
    check("users_full_name_length", sql`length(${table.fullName}) <= 200`),
    check("users_locale_length", sql`length(${table.locale}) <= 35`),
  ],
);
