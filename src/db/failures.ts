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
 * The SQLSTATEs (PostgreSQL's documentation, appendix A) for which a retry may succeed, by class or
 * code: the response is 503, otherwise 500. docs/guides/postgresql.md lists them.
 */
const outageClasses = ["08", "28", "3D", "40", "53", "57", "58", "72"];
// Read-only after a failover; timeouts of a transaction; another session has the lock.
const outageCodes = ["25006", "25P03", "25P04", "55P03"];
const CONSTRAINT_VIOLATED_AT_COMMIT = "40002";

/** Error codes of the driver, of sockets and of TLS. */
const connectionCodes =
  /^(CONNECTION_|CONNECT_TIMEOUT$|TLS_REFUSED$|SASL_|E(ACCES|ADDRNOTAVAIL|AI_AGAIN|AI_FAIL|CONN[A-Z]+|HOSTDOWN|HOSTUNREACH|MFILE|NETDOWN|NETUNREACH|NFILE|NOBUFS|NOENT|NOTFOUND|PIPE|PROTO|TIMEDOUT)$|CERT_|DEPTH_ZERO|ERR_SSL|ERR_TLS|SELF_SIGNED|UNABLE_TO_)/;
const SQL_STATE = /^[0-9A-Z]{5}$/;

/** The database is unavailable, full, too slow, or refuses our sessions: a retry may succeed. */
export function isOutage(error: unknown): boolean {
  const { code = "", isRefusal = false } = causeOf(error);
  if (isRefusal || connectionCodes.test(code)) return true;
  if (!SQL_STATE.test(code) || code === CONSTRAINT_VIOLATED_AT_COMMIT) return false;
  return outageClasses.includes(code.slice(0, 2)) || outageCodes.includes(code);
}

/** True if the database can be read but not written: its disk is full, or it is a standby. */
export const isUnwritable = (error: unknown): boolean =>
  /^(53100|25006)$/.test(causeOf(error).code ?? "");

/** `isOutage` for any error of a request, which may be about a missing file, for example. */
export function isDatabaseOutage(error: unknown): boolean {
  const { name, code = "", syscall } = error as Partial<NodeJS.ErrnoException>;
  const isOfDatabase =
    error instanceof DrizzleQueryError ||
    name === "PostgresError" ||
    /^(connect|read|write)$/.test(syscall ?? "") ||
    /^(CONNECT|TLS_REFUSED|SASL_)/.test(code);
  return isOfDatabase && isOutage(error);
}
