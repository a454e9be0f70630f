import { is } from "drizzle-orm";
import { type PgDatabase, PgTransaction } from "drizzle-orm/pg-core";
import { drizzle, type PostgresJsQueryResultHKT } from "drizzle-orm/postgres-js";
import postgres from "postgres";
import { readPostgresUrl, type Tls } from "../config/postgres-url.ts";
import { readText } from "../config/text-file.ts";
import { Problem, UserGone } from "../kit/problem.ts";
import type { ProblemCode } from "../kit/problem-codes.ts";
import { noTracing, type Tracing } from "../kit/tracing.ts";
import { causeOf } from "./failures.ts";
import { pooledSettings, sessionSettings } from "./session.ts";
import { traceStatements } from "./statement-spans.ts";

/** A pool of connections, or one transaction on one of them: a verb does not care which. */
export type Db = PgDatabase<PostgresJsQueryResultHKT>;
/** The driver beneath, for what is not a query of a room: migrations, health, locks. */
export type Sql = postgres.Sql;

/** Where the database is: a server's URL, or the socket of the embedded one. */
export type Place =
  | {
      url: string;
      caFile: string | undefined;
      /** It is a pooler in transaction mode: what is set for a session, or prepared in it, reaches another one. */
      isPooled?: boolean;
    }
  | { socketPath: string; database?: string };

export interface DatabaseOptions {
  place: Place;
  /** The same without the pooler before it, if there is one. */
  direct?: Place;
  poolSize: number;
  connectTimeoutSeconds: number;
  statementTimeoutSeconds: number;
  tracing?: Tracing;
}

export interface Database {
  db: Db;
  sql: Sql;
  close: () => Promise<void>;
  /** Does `work` on a connection of its own, which is given up by nobody: for what takes long and holds locks. */
  alone: <T>(work: (sql: Sql) => Promise<T>) => Promise<T>;
  pool: () => PoolCounts;
  sizeBytes: () => Promise<number>;
}

/** Connections of a pool in each state, and statements that wait for one. */
export type PoolCounts = Record<"idle" | "busy" | "connecting" | "waiting", number>;

/** How long to wait after a failed connection: always the same, so that Bunker is back as soon as the database is. */
const RECONNECT_SECONDS = 0.25;
const CLOSE_MAX_SECONDS = 5;
/** The database gives a statement up in its time and says so. Where it says nothing for so much longer, nobody is there. */
const SILENCE_MAX_MS = 1_000;
const LOOK_EVERY_MS = 1_000;

/** So that the database lets go of a transaction whose client is out of reach: a server's own keepalive takes two hours. */
const keepalives = {
  tcp_keepalives_idle: 10,
  tcp_keepalives_interval: 5,
  tcp_keepalives_count: 3,
};

/**
 * PgBouncer takes a server away from its client at the first "ready for query", also where that belongs to the statement before and this
 * one was only described yet: its answer would never come. So nothing is sent there before the last answer is read.
 */
const oneAtATime = { prepare: false, max_pipeline: 0 };

/** Opens a pool. Connects at the first statement, not before. */
export function openDatabase(options: DatabaseOptions): Database {
  const common = { connect_timeout: options.connectTimeoutSeconds };
  const timeouts = {
    ...keepalives,
    statement_timeout: options.statementTimeoutSeconds * 1000,
    idle_in_transaction_session_timeout: options.statementTimeoutSeconds * 2000,
  };
  const isPooled = "url" in options.place && options.place.isPooled === true;
  const driver = connect(options.place, {
    ...common,
    max: options.poolSize,
    ...(isPooled ? oneAtATime : {}),
    // PgBouncer keeps those of the session apart for each client, and refuses a client that asks for the timeouts.
    connection: isPooled ? {} : timeouts,
  });
  const { pool, abandon } = driver as PatchedSql;
  const { tracing = noTracing } = options;
  const sql = tracing === noTracing ? driver : traceStatements(driver, tracing);
  const silenceMaxMs = options.statementTimeoutSeconds * 1000 + SILENCE_MAX_MS;
  const looking = setInterval(() => abandon(silenceMaxMs), LOOK_EVERY_MS).unref();
  return {
    ...{ db: drizzle(sql), sql, pool },
    close: () => {
      clearInterval(looking);
      return sql.end({ timeout: CLOSE_MAX_SECONDS });
    },
    alone: async (work) => {
      const one = connect(options.direct ?? options.place, {
        ...common,
        max: 1,
        connection: keepalives,
      });
      try {
        return await work(one);
      } finally {
        await one.end({ timeout: CLOSE_MAX_SECONDS });
      }
    },
    sizeBytes: async () => {
      const [row] = await sql`select pg_database_size(current_database())::float8 as bytes`;
      return row?.["bytes"];
    },
  };
}

/** What our patch of the driver adds: it keeps these to itself. */
interface PatchedSql extends Sql {
  pool: () => PoolCounts;
  /** Cuts the connections that have been waiting for an answer for longer, and heard nothing. */
  abandon: (ms: number) => void;
}

/** A driver for `place`; drizzle changes the driver that it is given, so it has one of its own. */
export function connect(place: Place, options: Partial<DriverOptions>): Sql {
  const common = { backoff: () => RECONNECT_SECONDS, fetch_types: false, onnotice: () => {} };
  const { session = {}, ...target } = targetOf(place);
  const settings = "url" in place && place.isPooled ? pooledSettings : sessionSettings;
  const connection = {
    ...settings,
    ...session,
    ...options.connection,
  } as DriverOptions["connection"];
  return postgres({ ...common, ...options, ...target, connection } as DriverOptions);
}

type DriverOptions = postgres.Options<Record<string, never>>;

/** The driver has an option that its types do not name. */
interface Target extends Partial<Omit<DriverOptions, "host" | "port">> {
  host?: string[];
  port?: number[];
  session?: Record<string, string>;
  sslnegotiation?: "direct" | null;
}

function targetOf(place: Place): Target {
  if ("socketPath" in place)
    return {
      path: place.socketPath,
      user: "bunker",
      database: place.database ?? "bunker",
      ssl: false,
      session: { application_name: "bunker" },
    };
  const server = readPostgresUrl(place.url);
  const { endpoint, user, password, database, options, applicationName } = server;
  const { connectTimeoutSeconds, keepAliveSeconds } = server;
  const isSocket = "socketPath" in endpoint;
  return {
    // As lists: the driver splits a text at commas and colons, and an IPv6 address has colons.
    ...(isSocket
      ? { path: endpoint.socketPath }
      : { host: [endpoint.host], port: [endpoint.port] }),
    ...{ user, password, database },
    ssl: isSocket ? false : tlsOf(server.tls, place.caFile),
    sslnegotiation: server.tls.isDirect && !isSocket ? "direct" : null,
    ...(connectTimeoutSeconds === undefined ? {} : { connect_timeout: connectTimeoutSeconds }),
    ...(keepAliveSeconds === undefined ? {} : { keep_alive: keepAliveSeconds }),
    session: {
      application_name: applicationName,
      // A pooler does not know the options of a session; those of a provider choose the database.
      ...(options !== undefined && (!place.isPooled || !/(^|\s)-/.test(options))
        ? { options }
        : {}),
    },
  };
}

/** The meaning of `sslmode`, as libpq has it: what is checked of the server's certificate. */
function tlsOf(tls: Tls, caFile: string | undefined) {
  const read = (file: string | undefined) => file && readText(file);
  const ca = tls.rootCertificate === "system" ? undefined : read(tls.rootCertificate ?? caFile);
  const [cert, key] = [read(tls.certificate), read(tls.key)];
  const common = {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert, key, passphrase: tls.keyPassword }),
  };
  const modes = {
    disable: false,
    allow: "prefer",
    prefer: "prefer",
    require: { ...common, rejectUnauthorized: false },
    "verify-ca": { ...common, rejectUnauthorized: true, checkServerIdentity: () => undefined },
    "verify-full": { ...common, rejectUnauthorized: true },
  } as const satisfies Record<Tls["mode"], unknown>;
  return modes[tls.mode];
}

/** Builds a statement once for each database, so that a hot path pays neither for building nor for planning it. */
export function prepared<Statement>(build: (db: Db) => Statement): (db: Db) => Statement {
  const built = new WeakMap<Db, Statement>();
  return (db) => {
    const known = built.get(db);
    if (known) return known;
    const statement = build(db);
    built.set(db, statement);
    return statement;
  };
}

/** What a broken unique constraint means to the caller. */
const duplicates: Record<string, ProblemCode> = {
  users_email_key: "email_taken",
  users_username_key: "username_taken",
};

/** Rows that belong to a user: an insert fails with these if the user is deleted at the same time. */
export const userReferences: readonly string[] = [
  "mail_requests_user_id_users_id_fk",
  "one_time_secrets_user_id_users_id_fk",
  "sessions_user_id_users_id_fk",
];

const DEADLOCK_RETRIES = 2;

/**
 * Runs one verb's changes in one transaction; every transaction goes through here. The database decides races: a broken
 * constraint becomes its refusal, and every other failure stays as it is. PostgreSQL resolves a deadlock by canceling one
 * transaction: that one runs again from the start, so `change` must not have effects outside the database.
 */
export async function transact<T>(db: Db, change: (tx: Db) => Promise<T>): Promise<T> {
  // A nested transaction cannot retry: the outer one still holds the locks of the deadlock.
  const retries = is(db, PgTransaction) ? 0 : DEADLOCK_RETRIES;
  for (let attempt = 0; ; attempt += 1)
    try {
      return await db.transaction(change);
    } catch (error) {
      const isDeadlock = /^(40P01|40001)$/.test(causeOf(error).code ?? "");
      if (!isDeadlock || attempt >= retries) throw refusalOf(error) ?? error;
    }
}

function refusalOf(error: unknown): Problem | undefined {
  const { code, constraint_name: constraint = "", detail } = causeOf(error);
  const duplicate = code === "23505" ? duplicates[constraint] : undefined;
  if (duplicate) return new Problem(duplicate);
  if (code !== "23503" || !userReferences.includes(constraint)) return undefined;
  // PostgreSQL's detail is in the server's language; only the key in it is not.
  return new UserGone(/=\(([0-9a-f-]{36})\)/.exec(detail ?? "")?.[1]);
}
