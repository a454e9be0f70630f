import { getTableColumns, sql } from "drizzle-orm";
import { boolean, check, index, pgTable, text, timestamp, unique, uuid } from "drizzle-orm/pg-core";
import { at } from "../../db/columns.ts";

export const users = pgTable(
  "users",
  {
    id: uuid("id").primaryKey(),
    /** As typed. Our code case-folds `email_key`: `lower()` depends on the database locale. */
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
    /** Older device tokens are not known: another person may have had the password then. */
    devicesKnownSince: timestamp("devices_known_since", { withTimezone: true, precision: 3 }),
    createdAt: at("created_at"),
    /** A trigger sets it if a statement does not. */
    updatedAt: at("updated_at"),
  },
  (table) => [
    unique("users_email_key").on(table.emailKey),
    unique("users_username_key").on(table.usernameKey),
    index("users_created_at_id").on(table.createdAt, table.id),
    index("users_superusers").on(table.id).where(sql`${table.isSuperuser}`),
    check("users_email_length", sql`length(${table.email}) between 3 and 254`),
    check("users_email_key_length", sql`length(${table.emailKey}) between 3 and 254`),
    check("users_username_shape", sql`${table.username} ~ '^[A-Za-z0-9._-]{3,32}$'`),
    check("users_full_name_length", sql`length(${table.fullName}) <= 200`),
    check("users_locale_length", sql`length(${table.locale}) <= 35`),
  ],
);

const { passwordHash, emailKey, usernameKey, ...columns } = getTableColumns(users);
/** The columns that all modules may read: those of `User`. A secret column is left out here. */
export const userColumns = columns;
