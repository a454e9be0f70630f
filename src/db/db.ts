import type { PgDatabase } from "drizzle-orm/pg-core";
import { drizzle, type PostgresJsQueryResultHKT } from "drizzle-orm/postgres-js";
import postgres from "postgres";
import { readPostgresUrl, type Tls } from "../config/postgres-url.ts";
import { readText } from "../config/text-file.ts";
import { noTracing, type Tracing } from "../kit/tracing.ts";
import { pooledSettings, sessionSettings } from "./session.ts";
import { traceStatements } from "./statement-spans.ts";

/** A connection pool, or a transaction on one of its connections. A verb works with both. */
export type Db = PgDatabase<PostgresJsQueryResultHKT>;
/** The driver under drizzle, for what is not a query of a module: migrations, health, locks. */
export type Sql = postgres.Sql;

/** Where the database is: the URL of a server, or the socket of the embedded PostgreSQL. */
export type Place =
  | {
      url: string;
      caFile: string | undefined;
      /** For a pooler in transaction mode: the next statement may reach another session. */
      isPooled?: boolean;
    }
  | { socketPath: string; database?: string };

export interface DatabaseOptions {
  place: Place;
  /** The same database without its pooler, if it has one. */
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
  /** Runs `work` on a connection without timeouts, for long work that holds locks. */
  alone: <T>(work: (sql: Sql) => Promise<T>) => Promise<T>;
  pool: () => PoolCounts;
  sizeBytes: () => Promise<number>;
}

/** Connections of a pool in each state, and statements that wait for one. */
export type PoolCounts = Record<"idle" | "busy" | "connecting" | "waiting", number>;

/** Does not grow, so that Bunker is available again as soon as the database is. */
const RECONNECT_SECONDS = 0.25;
const CLOSE_MAX_SECONDS = 5;
/** Without any answer for this much longer than `statement_timeout`, the connection is dead. */
const SILENCE_MAX_MS = 1_000;
const CHECK_EVERY_MS = 1_000;

/** Soon end the transaction of an unreachable client. The default is two hours. */
const keepalives = { tcp_keepalives_idle: 10, tcp_keepalives_interval: 5, tcp_keepalives_count: 3 };

/**
 * PgBouncer may release the server connection of a client at a "ready for query" of the previous
 * statement, and the next answer would never arrive. So no statement is sent to a pooler before the
 * last answer is read.
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
    // PgBouncer tracks only `pooledSettings`, and refuses a client that sets the timeouts.
    connection: isPooled ? {} : timeouts,
  });
  const { pool, abandon } = driver as PatchedSql;
  const { tracing = noTracing } = options;
  const sql = tracing === noTracing ? driver : traceStatements(driver, tracing);
  const silenceMaxMs = options.statementTimeoutSeconds * 1000 + SILENCE_MAX_MS;
  const checking = setInterval(() => abandon(silenceMaxMs), CHECK_EVERY_MS).unref();
  return {
    db: drizzle(sql),
    sql,
    pool,
    close: () => {
      clearInterval(checking);
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

/** What our patch of the driver exposes. */
interface PatchedSql extends Sql {
  pool: () => PoolCounts;
  /** Closes connections that have waited for an answer for longer than `ms`. */
  abandon: (ms: number) => void;
}

/** Opens a driver for `place`. Drizzle modifies its driver, so each pool has its own. */
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
    // As lists: the driver splits a string at commas and colons, and IPv6 has colons.
    ...(isSocket
      ? { path: endpoint.socketPath }
      : { host: [endpoint.host], port: [endpoint.port] }),
    user,
    password,
    database,
    ssl: isSocket ? false : tlsOf(server.tls, place.caFile),
    sslnegotiation: server.tls.isDirect && !isSocket ? "direct" : null,
    ...(connectTimeoutSeconds === undefined ? {} : { connect_timeout: connectTimeoutSeconds }),
    ...(keepAliveSeconds === undefined ? {} : { keep_alive: keepAliveSeconds }),
    session: {
      application_name: applicationName,
      // A pooler supports no command-line options; other options select the database at a provider.
      ...(options !== undefined && (!place.isPooled || !/(^|\s)-/.test(options))
        ? { options }
        : {}),
    },
  };
}

/** TLS options for an `sslmode`, which verify the server's certificate as libpq does. */
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

/** Builds a statement once for each `Db`, so that a hot path neither builds nor plans it again. */
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
