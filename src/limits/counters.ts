import type { Database, Db } from "../db/db.ts";
import {
  ALL,
  type Consumption,
  type Count,
  type Policy,
  type Refund,
  windowSecondsOf,
} from "./policies.ts";
import { consume, refund } from "./postgres-counters.ts";
import type { SharedMemory } from "./shared-memory.ts";

/** Limits with a longer window stay in the database: a lost counter in memory starts at zero. */
const MEMORY_WINDOW_MAX_SECONDS = 3_600;

/**
 * The counters that all instances share: in the shared memory while it is available, otherwise in
 * PostgreSQL.
 */
export function openCounters(
  database: Pick<Database, "sql">,
  shared: SharedMemory,
  now: () => Date,
) {
  const isInMemory = (policy: Policy) =>
    shared.state() === "ok" && windowSecondsOf(policy) <= MEMORY_WINDOW_MAX_SECONDS;

  /**
   * Consumes each count, or as much of it as remains. Returns the counts by key. Consumes nothing
   * at all if the database is unavailable.
   */
  const consumeAll = async (consumptions: Consumption[]): Promise<Map<string, Count>> => {
    const time = now();
    const inMemory = consumptions.filter(isInMemory);
    const inDatabase = consumptions.filter((each) => !inMemory.includes(each));
    const counts = inDatabase.length > 0 ? await consume(database.sql, inDatabase, time) : [];
    if (inMemory.length === 0) return new Map(counts);
    const others =
      (await shared.consume(inMemory, time)) ?? (await consume(database.sql, inMemory, time));
    return new Map([...counts, ...others]);
  };

  /**
   * Refunds counters in the database within the caller's transaction. Refunds `ALL` in both places,
   * because a counter may have changed its place.
   */
  const refundAll = async (db: Db, refunds: (Refund & Policy)[]): Promise<void> => {
    const inMemory = refunds.filter(isInMemory);
    if (inMemory.length > 0) await shared.refund(inMemory);
    const inDatabase = refunds.filter((each) => each.count === ALL || !inMemory.includes(each));
    if (inDatabase.length > 0) await refund(db, inDatabase);
  };
  return { consume: consumeAll, refund: refundAll };
}
