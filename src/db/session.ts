/**
 * A server, a database or a role may have other defaults. Values are spelled as PostgreSQL shows
 * them: db/checks compares them where they cannot be set.
 */
export const sessionSettings = {
  // The driver reads only these formats of times, intervals and bytes.
  DateStyle: "ISO, MDY",
  TimeZone: "UTC",
  IntervalStyle: "postgres",
  bytea_output: "hex",
  extra_float_digits: "1",
  standard_conforming_strings: "on",
  array_nulls: "on",
  transform_null_equals: "off",
  // Not the schema that has the name of the role.
  search_path: "public",
  default_transaction_isolation: "read committed",
  default_transaction_read_only: "off",
  default_transaction_deferrable: "off",
  // Fail the statement instead of hiding rows: a hidden user would seem not to exist.
  row_security: "off",
  lock_timeout: "0",
  idle_session_timeout: "0",
  // The pool of a server sets its own timeouts (db/db).
  statement_timeout: "0",
  idle_in_transaction_session_timeout: "0",
};

/** A pooler in transaction mode tracks only these, and refuses a client that sets others. */
const keptByPoolers = ["DateStyle", "TimeZone", "standard_conforming_strings"] as const;

export const pooledSettings = Object.fromEntries(
  keptByPoolers.map((name) => [name, sessionSettings[name]]),
);

/**
 * Behind a pooler, these settings of the role or database must have our values already. Left out
 * are timeouts, which may differ, and `row_security`: db/checks refuses tables with hidden rows.
 */
export const checkedBehindPoolers = Object.keys(sessionSettings).filter(
  (name) => !keptByPoolers.some((kept) => kept === name) && !/timeout$|^row_security$/.test(name),
) as (keyof typeof sessionSettings)[];
