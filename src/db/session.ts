/**
 * Set for each session: a server, a database and a role may have other defaults, and none of them may change what Bunker
 * does. Values are spelled as PostgreSQL shows them, so that they can be compared where they cannot be set (db/checks).
 */
export const sessionSettings = {
  // The driver reads times in one spelling only, and the same for bytes and intervals.
  DateStyle: "ISO, MDY",
  TimeZone: "UTC",
  IntervalStyle: "postgres",
  bytea_output: "hex",
  extra_float_digits: "1",
  standard_conforming_strings: "on",
  array_nulls: "on",
  transform_null_equals: "off",
  // One schema, whatever the role's own is called.
  search_path: "public",
  default_transaction_isolation: "read committed",
  default_transaction_read_only: "off",
  default_transaction_deferrable: "off",
  // A policy must fail a statement, not hide rows from it: a hidden user looks like one that does not exist.
  row_security: "off",
  lock_timeout: "0",
  idle_session_timeout: "0",
  // Longer statements are the caller's choice (db/db).
  statement_timeout: "0",
  idle_in_transaction_session_timeout: "0",
};

/** A pooler in transaction mode keeps only these apart for each client, and refuses a client that asks for others. */
const keptByPoolers = ["DateStyle", "TimeZone", "standard_conforming_strings"] as const;

export const pooledSettings = Object.fromEntries(
  keptByPoolers.map((name) => [name, sessionSettings[name]]),
);

/**
 * What a role or database has set behind a pooler stays, so it must be one of these. A timeout may be longer than ours, and
 * tables whose rows a policy hides are refused anyway.
 */
export const checkedBehindPoolers = Object.keys(sessionSettings).filter(
  (name) => !keptByPoolers.some((kept) => kept === name) && !/timeout$|^row_security$/.test(name),
) as (keyof typeof sessionSettings)[];
