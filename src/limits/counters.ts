import type { Database, Db } from "../db/db.ts";
import {
  ALL,
  type Consumption,
  type Count,
  isForRedis,
  type Policy,
  type Refund,
} from "./policies.ts";
import { consume, refund } from "./postgres-counters.ts";
import type { SharedStore } from "./shared-store.ts";

/** The counters that all instances share: in Redis (`isForRedis`), otherwise in PostgreSQL. */
export function openCounters(database: Pick<Database, "sql">, store: SharedStore, now: () => Date) {
  const isInRedis = (policy: Policy) => store.state() === "ok" && isForRedis(policy);

  /**
   * Consumes each count, or as much of it as remains. Returns the counts by key. Counts in
   * PostgreSQL first: if that fails, it consumes nothing from Redis either. If Redis does not
   * reply, PostgreSQL counts its part.
   */
  const consumeAll = async (consumptions: Consumption[]): Promise<Map<string, Count>> => {
    const time = now();
    const inRedis = consumptions.filter(isInRedis);
    const inPostgres = consumptions.filter((each) => !inRedis.includes(each));
    const counts = inPostgres.length > 0 ? await consume(database.sql, inPostgres, time) : [];
    if (inRedis.length === 0) return new Map(counts);
    const others =
      (await store.consume(inRedis, time)) ?? (await consume(database.sql, inRedis, time));
    return new Map([...counts, ...others]);
  };

  /**
   * Refunds counters in PostgreSQL within the caller's transaction. Refunds `ALL` in both, because
   * either may have counted while Redis came or went.
   */
  const refundAll = async (db: Db, refunds: (Refund & Policy)[]): Promise<void> => {
    const inRedis = refunds.filter(isInRedis);
    if (inRedis.length > 0) await store.refund(inRedis);
    const inPostgres = refunds.filter((each) => each.count === ALL || !inRedis.includes(each));
    if (inPostgres.length > 0) await refund(db, inPostgres);
  };
  return { consume: consumeAll, refund: refundAll };
}
