import type { Back, Count, Want } from "../../kit/limits.ts";
import type { SharedMemory } from "../../kit/shared-memory.ts";
import type { Database, Db } from "../db.ts";
import { giveBack, take } from "./counts.ts";

/** A count that is lost begins anew: what counts for longer than this is only ever kept in the database. */
const LOSABLE_MAX_SECONDS = 3_600;

interface Counted {
  /** What the count lasts, at most. */
  periodSeconds: number;
}

/** Where all instances count together: in the memory that they share, while it is there, and otherwise in PostgreSQL. */
export function openCounting(
  database: Pick<Database, "sql">,
  shared: SharedMemory,
  now: () => Date,
) {
  const isShared = ({ periodSeconds }: Counted) =>
    shared.state() === "ok" && periodSeconds <= LOSABLE_MAX_SECONDS;

  /** Takes what is wanted, or as much as is there; answers by key. */
  const takeAll = async (wants: Want[]): Promise<Map<string, Count>> => {
    const time = now();
    const losable = wants.filter(isShared);
    const taken = losable.length > 0 ? await shared.take(losable, time) : undefined;
    const others = taken ? wants.filter((want) => !taken.has(want.key)) : wants;
    if (others.length === 0) return taken ?? new Map();
    return new Map([...(taken ?? []), ...(await take(database.sql, others, time))]);
  };

  /** Gives back: what the database keeps in the caller's transaction. */
  const giveAllBack = async (db: Db, backs: (Back & Counted)[]): Promise<void> => {
    const losable = backs.filter(isShared);
    if (losable.length > 0) await shared.giveBack(losable);
    const others = backs.filter((back) => !losable.includes(back));
    if (others.length > 0) await giveBack(db, others);
  };
  return { take: takeAll, giveBack: giveAllBack };
}
