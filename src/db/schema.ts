import { sql } from "drizzle-orm";
import {
  bigint,
  boolean,
  check,
  customType,
  index,
  integer,
  jsonb,
  pgTable,
  text,
  timestamp,
  unique,
  uniqueIndex,
  uuid,
} from "drizzle-orm/pg-core";
import type { Jwk, PairAlgorithm, StoredKey } from "../kit/key-ring.ts";

/** Every table on one page. Keys are UUIDv7, made by us; times are UTC with milliseconds. */
const at = (name: string) => timestamp(name, { withTimezone: true, precision: 3 }).notNull();

/** SHA-256 and the like: bytes, never text. */
const bytes = customType<{ data: Buffer }>({ dataType: () => "bytea" });
/** A transaction's id that never wraps around. */
const transactionId = customType<{ data: string }>({ dataType: () => "xid8" });

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
    /** Of the refresh token that is good now, and of the one that was spent for it (`kit/refresh-token`). */
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

/** Everything that changed, written in the transaction that changed it; it outlives what it tells of. */
export const events = pgTable(
  "events",
  {
    id: uuid("id").primaryKey(),
    /**
     * Where a reader is: transactions commit out of order, so whoever pages by `(transaction_id, position)` and stops below
     * `pg_snapshot_xmin(pg_current_snapshot())` misses nothing.
     */
    position: bigint("position", { mode: "bigint" }).generatedAlwaysAsIdentity(),
    transactionId: transactionId("transaction_id").notNull().default(sql`pg_current_xact_id()`),
    type: text("type").notNull(),
    occurredAt: at("occurred_at"),
    /** Who did it: `stranger`, `user` (then `actor_id`) or `operator`. */
    actorKind: text("actor_kind").notNull(),
    actorId: uuid("actor_id"),
    /** The account, or the OAuth client, that it is about; missing where it is about all of them. */
    subjectId: uuid("subject_id"),
    address: text("address"),
    userAgent: text("user_agent"),
    requestId: text("request_id"),
    data: jsonb("data").notNull(),
  },
  (table) => [
    index("events_position").on(table.transactionId, table.position),
    index("events_subject").on(table.subjectId, table.occurredAt, table.id),
    index("events_actor_origin")
      .on(table.actorId, table.id)
      .where(
        sql`${table.actorId} is not null and (${table.address} is not null or ${table.userAgent} is not null)`,
      ),
    check("events_actor_kind", sql`${table.actorKind} in ('stranger', 'user', 'operator')`),
    check("events_user_agent_length", sql`length(${table.userAgent}) <= 512`),
  ],
);

/** Deleted users whose IPs and user agents may still be in `events` (`modules/events/erasure`). */
export const erasures = pgTable("erasures", {
  userId: uuid("user_id").primaryKey(),
  createdAt: at("created_at"),
});

/**
 * What was spent of each limit (`db/limits`). Unlogged: it is written often, and a database that crashed begins to count
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

/** Key pairs that sign access tokens; the private parts are wrapped (`kit/key-ring`). */
export const signingKeys = pgTable(
  "signing_keys",
  {
    kid: text("kid").primaryKey(),
    algorithm: text("algorithm").$type<PairAlgorithm>().notNull(),
    /** `next` signs nothing yet, `retired` nothing any more. */
    state: text("state").$type<StoredKey["state"]>().notNull(),
    publicJwk: jsonb("public_jwk").$type<Jwk>().notNull(),
    wrapped: bytes("wrapped").notNull(),
    wrappedBy: text("wrapped_by").notNull(),
    createdAt: at("created_at"),
    /** Since when it has been in its state. */
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

/** Every key that has signed access tokens, also secrets, and until when such a token may be valid. */
export const keyUses = pgTable("key_uses", {
  kid: text("kid").primaryKey(),
  acceptedUntil: at("accepted_until"),
});

/** Programs with a secret of their own: confidential clients (RFC 6749, section 2.1). */
export const clients = pgTable(
  "clients",
  {
    id: uuid("id").primaryKey(),
    name: text("name").notNull(),
    /** SHA-256 of 256 random bits. */
    secretHash: bytes("secret_hash").notNull(),
    /** Of the secret before it, while one is rotated. */
    previousSecretHash: bytes("previous_secret_hash"),
    createdAt: at("created_at"),
    rotatedAt: at("rotated_at"),
  },
  (table) => [check("clients_name_length", sql`length(${table.name}) between 1 and 100`)],
);

/** OAuth clients' own access tokens that were revoked before they expired (`modules/oauth/revoked-tokens`). */
export const revokedTokens = pgTable(
  "revoked_tokens",
  {
    /** The token's `jti`. */
    id: uuid("id").primaryKey(),
    expiresAt: at("expires_at"),
  },
  (table) => [index("revoked_tokens_expires_at").on(table.expiresAt)],
);

/** Links that were mailed and work once (`modules/one-time`); what is spent has no row. */
export const oneTimeSecrets = pgTable(
  "one_time_secrets",
  {
    id: uuid("id").primaryKey(),
    /** Which came first, whatever the clocks of several instances say. */
    position: bigint("position", { mode: "bigint" }).generatedAlwaysAsIdentity(),
    purpose: text("purpose").notNull(),
    userId: uuid("user_id")
      .notNull()
      .references(() => users.id, { onDelete: "cascade" }),
    /** The account's address when it was sent, folded: with another one the link is good no more. Null: whatever it is. */
    addressKey: text("address_key"),
    /** The address that it gives to the account. */
    newEmail: text("new_email"),
    hash: bytes("hash").notNull(),
    /** Of the six digits that do the same, under a key of the server: a million guesses undo a plain hash. */
    codeMac: bytes("code_mac"),
    codeTries: integer("code_tries").notNull().default(0),
    createdAt: at("created_at"),
    expiresAt: at("expires_at"),
  },
  (table) => [
    unique("one_time_secrets_hash").on(table.hash),
    index("one_time_secrets_user_id").on(table.userId, table.purpose, table.createdAt),
    index("one_time_secrets_expires_at").on(table.expiresAt),
  ],
);

/** Links that somebody asked for, whoever has that address: a job finds out, and removes the row. */
export const mailRequests = pgTable(
  "mail_requests",
  {
    id: uuid("id").primaryKey(),
    purpose: text("purpose").notNull(),
    email: text("email").notNull(),
    /** Whose account the address is to be of, where somebody asks for that. */
    userId: uuid("user_id").references(() => users.id, { onDelete: "cascade" }),
    /**
     * The client is a known device of the user of this email: its mails count apart from those of
     * other clients.
     */
    isFromKnownDevice: boolean("is_from_known_device").notNull().default(false),
    /** Of the request that asked (W3C Trace Context), where that was traced. */
    traceParent: text("trace_parent"),
    createdAt: at("created_at"),
  },
  (table) => [
    index("mail_requests_created_at").on(table.createdAt),
    index("mail_requests_user_id").on(table.userId),
  ],
);

/** Mails that are to be sent, were sent, or cannot be. */
export const mails = pgTable(
  "mails",
  {
    /** Also the first half of its Message-ID, the same at each try. */
    id: uuid("id").primaryKey(),
    kind: text("kind").notNull(),
    /** Empty once the user is deleted. */
    recipient: text("recipient").notNull(),
    /** A keyed fingerprint of the recipient: mails to one email are counted by it, also after the user is deleted. */
    recipientKey: bytes("recipient_key"),
    /** The user that it is about. No reference, because the last notice outlives the user. */
    userId: uuid("user_id"),
    /** A BCP 47 language tag: what the recipient reads, if we have it. */
    locale: text("locale"),
    /** Of what caused it (W3C Trace Context), where that was traced. */
    traceParent: text("trace_parent"),
    /** What is said in it, links and codes too, so nobody reads it in a copy of the database; gone when it was sent. */
    sealed: bytes("sealed"),
    state: text("state").notNull().default("waiting"),
    tries: integer("tries").notNull().default(0),
    /** When to try, or to try again if whoever tries now does not come back. */
    dueAt: at("due_at"),
    createdAt: at("created_at"),
    endedAt: timestamp("ended_at", { withTimezone: true, precision: 3 }),
    /** What the server said last. */
    answer: text("answer"),
  },
  (table) => [
    index("mails_due").on(table.dueAt).where(sql`${table.state} = 'waiting'`),
    index("mails_ended_at").on(table.endedAt),
    index("mails_recipient").on(table.recipientKey, table.kind, table.createdAt),
    index("mails_user_id").on(table.userId),
    check("mails_state", sql`${table.state} in ('waiting', 'sent', 'dead')`),
  ],
);

/** What was answered to requests that carried an Idempotency-Key (`http/idempotency`). */
export const idempotency = pgTable(
  "idempotency",
  {
    /** Keyed fingerprints: of who asks, where, and by which key; and of the body. */
    key: bytes("key").primaryKey(),
    body: bytes("body").notNull(),
    /** Missing while it is being worked out. */
    outcome: jsonb("outcome"),
    claimedAt: at("claimed_at"),
    expiresAt: at("expires_at"),
  },
  (table) => [
    index("idempotency_expires_at").on(table.expiresAt),
    // The user that a registration answered with.
    index("idempotency_user").on(sql`(${table.outcome} -> 'value' ->> 'id')`),
  ],
);
