import { sql } from "drizzle-orm";
import type { Ctx } from "../../ctx.ts";

const WAIT_MAX_SECONDS = 30;

/**
 * How long the oldest committed event has waited until it can be read, in seconds: 0 if none waits.
 * Events wait while an older transaction that writes is open, in any database of the server.
 */
export async function unsettledSeconds({ db }: Pick<Ctx, "db">): Promise<number> {
  const [row] = await db.execute(sql`
    select coalesce(extract(epoch from now() - min(occurred_at)), 0)::float8 as seconds
      from events where transaction_id >= settled_transaction_id()`);
  return Math.max(0, Number(row?.["seconds"]));
}

/** Logs once, with the transaction that is to blame, when events have waited for 30 seconds. */
export async function reportUnsettledEvents(ctx: Ctx, logged: Set<string>): Promise<number> {
  const seconds = Math.round(await unsettledSeconds(ctx));
  if (seconds < WAIT_MAX_SECONDS) {
    if (logged.delete(WAITING)) ctx.log.info({}, "Events can be read again.");
    return 0;
  }
  if (logged.has(WAITING)) return 0;
  logged.add(WAITING);
  ctx.log.warn({ seconds, ...(await findBlocker(ctx)) }, WAITING);
  return 0;
}

const WAITING =
  "Events wait: a transaction on the database server is open. End it, and consumers get the events.";

/** The oldest transaction: no other has a lower id. A prepared transaction has no process. */
async function findBlocker({ db }: Ctx): Promise<object> {
  const [blocker = {}] = await db.execute(sql`
    with open (id, pid, database, application) as (
      select backend_xid, pid, datname, application_name from pg_stat_activity
      union all
      select transaction, null, database, 'prepared transaction ' || gid from pg_prepared_xacts)
    select pid, database, application from open where id is not null order by age(id) desc limit 1`);
  return blocker;
}
