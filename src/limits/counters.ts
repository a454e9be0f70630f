import type { Database, Db } from "../db/db.ts";
import { ALL, type Back, type Count, type Policy, type Want, windowSecondsOf } from "./policies.ts";
import { refund, take } from "./postgres-counters.ts";
import type { SharedMemory } from "./shared-memory.ts";

/** A count that is lost begins anew: what lasts longer than this is only ever kept in the database. */
const LOSABLE_MAX_SECONDS = 3_600;

/** Where all instances count together: in the memory that they share, while it is there, and otherwise in PostgreSQL. */
export function openCounters(
  database: Pick<Database, "sql">,
  shared: SharedMemory,
  now: () => Date,
) {
  const isShared = (policy: Policy) =>
    shared.state() === "ok" && windowSecondsOf(policy) <= LOSABLE_MAX_SECONDS;

  /** Takes what is wanted, or as much as is there; answers by key. Where the database is away, nothing is taken anywhere. */
  const takeAll = async (wants: Want[]): Promise<Map<string, Count>> => {
    const time = now();
    const losable = wants.filter(isShared);
    const lasting = wants.filter((want) => !losable.includes(want));
    const taken = lasting.length > 0 ? await take(database.sql, lasting, time) : [];
    if (losable.length === 0) return new Map(taken);
    const others = (await shared.take(losable, time)) ?? (await take(database.sql, losable, time));
    return new Map([...taken, ...others]);
  };

  /** Gives back: what the database keeps in the caller's transaction. All of it: wherever it was counted. */
  const giveAllBack = async (db: Db, backs: (Back & Policy)[]): Promise<void> => {
    const losable = backs.filter(isShared);
    if (losable.length > 0) await shared.refund(losable);
    const others = backs.filter((back) => back.count === ALL || !losable.includes(back));
    if (others.length > 0) await refund(db, others);
  };
  return { take: takeAll, refund: giveAllBack };
}
