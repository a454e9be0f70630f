import { DrizzleQueryError } from "drizzle-orm/errors";

export interface Cause {
  code?: string;
  constraint_name?: string;
  detail?: string;
  /** True if the server refused the session. Our patch of the driver sets it. */
  isRefusal?: boolean;
}

/** Unwraps the driver's error from drizzle's. */
export function causeOf(error: unknown): Cause {
  const cause = error instanceof DrizzleQueryError ? error.cause : error;
  return typeof cause === "object" && cause !== null ? cause : {};
}

/**
 * Every class of SQLSTATE (PostgreSQL's documentation, appendix A). `outage`: a retry may succeed;
 * the response is 503. `bug`: the response is 500. docs/guides/postgresql.md lists the outages.
 */
export const sqlStateClasses: Record<string, "outage" | "bug"> = {
  "00": "bug",
  "01": "bug",
  "02": "bug",
  "03": "bug",
  "08": "outage",
  "09": "bug",
  "0A": "bug",
  "0B": "bug",
  "0F": "bug",
  "0L": "bug",
  "0P": "bug",
  "0Z": "bug",
  "10": "bug",
  "20": "bug",
  "21": "bug",
  "22": "bug",
  "23": "bug",
  "24": "bug",
  "25": "bug",
  "26": "bug",
  "27": "bug",
  "28": "outage",
  "2B": "bug",
  "2D": "bug",
  "2F": "bug",
  "34": "bug",
  "38": "bug",
  "39": "bug",
  "3B": "bug",
  "3D": "outage",
  "3F": "bug",
  "40": "outage",
  "42": "bug",
  "44": "bug",
  "53": "outage",
  "54": "bug",
  "55": "bug",
  "57": "outage",
  "58": "outage",
  "72": "outage",
  F0: "bug",
  HV: "bug",
  P0: "bug",
  XX: "bug",
};

/** Codes that do not follow their class. */
export const sqlStates: Record<string, "outage" | "bug"> = {
  // Read-only after a failover; timeouts of a transaction.
  "25006": "outage",
  "25P03": "outage",
  "25P04": "outage",
  // A constraint violation at commit.
  "40002": "bug",
  // Another session has the lock.
  "55P03": "outage",
};

/** Error codes of the driver, of sockets and of TLS. */
const connectionCodes =
  /^(CONNECTION_|CONNECT_TIMEOUT$|TLS_REFUSED$|SASL_|E(ACCES|ADDRNOTAVAIL|AI_AGAIN|AI_FAIL|CONN[A-Z]+|HOSTDOWN|HOSTUNREACH|MFILE|NETDOWN|NETUNREACH|NFILE|NOBUFS|NOENT|NOTFOUND|PIPE|PROTO|TIMEDOUT)$|CERT_|DEPTH_ZERO|ERR_SSL|ERR_TLS|SELF_SIGNED|UNABLE_TO_)/;
const SQL_STATE = /^[0-9A-Z]{5}$/;

/**
 * True if a retry may succeed: the database is unavailable, full, too slow, or refuses our
 * sessions.
 */
export function isOutage(error: unknown): boolean {
  const { code = "", isRefusal = false } = causeOf(error);
  if (isRefusal || connectionCodes.test(code)) return true;
  if (!SQL_STATE.test(code)) return false;
  return (sqlStates[code] ?? sqlStateClasses[code.slice(0, 2)]) === "outage";
}

/** True if the database can be read but not written: its disk is full, or it is a standby. */
export const isUnwritable = (error: unknown): boolean =>
  /^(53100|25006)$/.test(causeOf(error).code ?? "");

/**
 * `isOutage` for any error of a request. Excludes errors that are not of the database, such as a
 * missing file.
 */
export function isDatabaseOutage(error: unknown): boolean {
  const { name, code = "", syscall } = error as Partial<NodeJS.ErrnoException>;
  const isOfDatabase =
    error instanceof DrizzleQueryError ||
    name === "PostgresError" ||
    /^(connect|read|write)$/.test(syscall ?? "") ||
    /^(CONNECT|TLS_REFUSED|SASL_)/.test(code);
  return isOfDatabase && isOutage(error);
}
