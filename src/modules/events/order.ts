import { sql } from "drizzle-orm";
import type { Ctx } from "../../ctx.ts";
import { transaction } from "../../db/transaction.ts";
import { events } from "./tables.ts";

/**
 * Keeps the order of events after the database was restored on another server, whose transaction
 * ids may be lower than those of the restored events: readers would miss all new events. Adds an
 * offset to the ids of this server then, so that cursors stay valid too.
 */
export async function keepEventOrder(ctx: Ctx): Promise<void> {
  if (!(await hasEventsOfOtherServer(ctx))) return;
  await transaction(ctx, async (tx) => {
    // Waits for transactions that have recorded events with the previous offset.
    await tx.db.execute(sql`lock table ${events} in share row exclusive mode`);
    if (!(await hasEventsOfOtherServer(tx))) return;
    const [found] = await tx.db.execute(sql`
      select (max(transaction_id)::text::bigint
        - pg_snapshot_xmin(pg_current_snapshot())::text::bigint + ${LOST_MAX}::bigint)::text as "offset"
        from ${used}`);
    await tx.db.execute(sql`
      create or replace function event_transaction_offset() returns bigint language sql immutable
        as ${sql.raw(`'select ${found?.["offset"]}::bigint'`)}`);
  });
  ctx.log.info({}, "Events were restored from another server; new events follow them.");
}

/**
 * Readers may have cursors of events that the backup does not have: new events follow these too, if
 * there were no more transactions than this since the backup.
 */
const LOST_MAX = 2 ** 32;

/** Also the cursors: the latest events may have been deleted. */
const used = sql`(
  select max(transaction_id) as transaction_id from events
  union all select max(transaction_id) from event_cursors) as used`;

async function hasEventsOfOtherServer({ db }: Ctx): Promise<boolean> {
  const found = await db.execute(sql`
    select 1 from ${used}
    where transaction_id >= (pg_snapshot_xmax(pg_current_snapshot())::text::bigint
      + event_transaction_offset())::text::xid8 limit 1`);
  return found.length > 0;
}
