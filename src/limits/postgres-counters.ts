import { lt, sql as query } from "drizzle-orm";
import { deleteBatch } from "../db/batch.ts";
import type { Db, Sql } from "../db/db.ts";
import type { Consumption, Count, Refund } from "./policies.ts";
import { limits } from "./tables.ts";

/**
 * `since` advances by whole periods (p), and each brings `refill` back (l). A row that starts more
 * than a period in the future comes from a wrong clock: it starts over (s). Each count is granted
 * as far as it remains (g). Rows are locked in the order of their keys, against deadlocks.
 */
const CONSUME = `
  with wanted as (
    select decode(key, 'hex') as key, count, quota, refill, "periodSeconds" as period, $2::timestamptz as now
    from json_to_recordset($1::json)
      as w(key text, count int, quota int, refill int, "periodSeconds" int)
  )
  insert into limits as had (key, spent, granted, since, ends_at)
  select key, least(count, quota), least(count, quota), now,
    now + make_interval(secs => ceil(least(count, quota)::float8 / refill) * period)
  from wanted order by key
  on conflict (key) do update set (spent, granted, since, ends_at) = (
    select still + got, got, start,
      start + make_interval(secs => ceil((still + got)::float8 / refill) * period)
    from wanted,
      lateral (select floor(extract(epoch from now - had.since) / period)::bigint as periods) as p,
      lateral (select greatest(0, had.spent - greatest(0, periods) * refill)::int as left_over) as l,
      lateral (select case when had.since > now + make_interval(secs => period) then 0 else left_over end as still) as s,
      lateral (select greatest(0, least(count, quota - still)) as got,
        case when still = 0 then now else had.since + make_interval(secs => greatest(0, periods) * period::float8) end as start) as g
    where wanted.key = had.key
  )
  returning encode(key, 'hex') as key, spent, granted,
    (select greatest(1, ceil(extract(epoch from had.since - now) + period))::int from wanted where wanted.key = had.key)
      as "refillInSeconds"`;

/** Consumes each count, or as much of it as remains. Returns the counts by key. */
export async function consume(
  pool: Sql,
  consumptions: Consumption[],
  now: Date,
): Promise<Map<string, Count>> {
  const rows = await pool.unsafe<(Count & { key: string })[]>(
    CONSUME,
    [JSON.stringify(consumptions), now.toISOString()],
    { prepare: true },
  );
  return new Map(rows.map((row) => [row.key, row]));
}

/** Refunds counts in the caller's transaction. A row that is then zero may be purged. */
export async function refund(db: Db, refunds: Refund[]): Promise<void> {
  await db.execute(query`
    with given as (
      select decode(key, 'hex') as key, count
      from json_to_recordset(${JSON.stringify(refunds)}::json) as g(key text, count int)
    ), held as (
      select key from limits where key in (select key from given) order by key for update
    )
    update limits set spent = greatest(0, spent - count),
      ends_at = case when spent > count then ends_at else since end
    from given where limits.key = given.key and limits.key in (select key from held)`);
}

interface Purger {
  db: Db;
  now: () => Date;
}

/** Deletes rows that are back at zero, in batches. Returns how many. */
export const purgeLimits = ({ db, now }: Purger): Promise<number> =>
  deleteBatch(db, limits.key, lt(limits.endsAt, now()));

/** About 150 MB with the indexes. Clients can make up any number of names. */
const ROWS_MAX = 1_000_000;
const EVICTED_AT_ONCE = 10_000;
/** The least size of a row. */
const ROW_MIN_BYTES = 76;

/** Deletes rows beyond `rowsMax`, lowest counts first, at most 10,000 at a time. */
export async function evictLimits({ db }: Purger, rowsMax = ROWS_MAX): Promise<number> {
  // Reading the file's size costs nothing, and usually shows that the table is too small to count.
  const [full] = await db.execute(
    query`select 1 where pg_relation_size('limits') > ${rowsMax * ROW_MIN_BYTES}::bigint`,
  );
  if (!full) return 0;
  const [counted] = await db.execute<{ rows: string }>(query`select count(*) as rows from limits`);
  const surplus = Number(counted?.rows) - rowsMax;
  if (surplus <= 0) return 0;
  const evicted = await db.execute(query`
    delete from limits where key = any(array(
      select key from limits order by spent, ends_at limit ${Math.min(surplus, EVICTED_AT_ONCE)}
      for update skip locked
    )) returning 1`);
  return evicted.length;
}
