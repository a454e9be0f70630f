import { sql } from "drizzle-orm";
import type { Ctx } from "../../ctx.ts";
import { openThrottle } from "../../kit/throttle.ts";
import { renewLeases } from "./claims.ts";
import { queueDeliveries } from "./dispatch.ts";
import { openSender, type Sender } from "./sender.ts";

/**
 * Queues and sends deliveries. Each webhook has a sender of its own, so a receiver that is slow or
 * dead delays no other. Under load, at most 32 deliveries begin each second, in equal shares by
 * webhook. `run` starts the senders without waiting for them; `close` waits.
 */
export function openSenders(ctx: Ctx) {
  const throttle = openThrottle(ctx.load, UNDER_LOAD);
  const senders = new Map<string, Sender>();
  const renew = () =>
    renewLeases(
      ctx,
      [...senders.values()].flatMap((sender) => sender.held()),
    );
  const startDue = async () => {
    const enabled = await findDue(ctx);
    const versions = new Map(enabled.map(({ id, version }) => [id, version]));
    for (const [id, sender] of senders) sender.releaseUnusable(versions.get(id));
    const toStart = enabled.filter(({ id, isDue }) => isDue || senders.get(id)?.isStalled());
    for (const { id } of toStart) {
      const sender = senders.get(id) ?? openSender(ctx, id, () => throttle.wait(id));
      senders.set(id, sender);
      sender.start();
    }
  };
  return {
    run: async (): Promise<number> => {
      await renew();
      const { isAnyEnabled, hasMore } = await queueDeliveries(ctx);
      if (isAnyEnabled || senders.size > 0) await startDue();
      const failures = [...senders.values()].flatMap((sender) => sender.takeFailures());
      for (const [id, sender] of senders) if (sender.isIdle()) senders.delete(id);
      if (failures.length > 0) throw failures[0];
      return hasMore ? 1 : 0;
    },
    close: async (): Promise<void> => {
      const renewing = setInterval(() => void renew().catch(() => {}), RENEW_EVERY_MS);
      const closed = Promise.allSettled([...senders.values()].map((sender) => sender.close()));
      // Afterwards, because the loops that it resumes must send nothing.
      throttle.end();
      const results = await closed;
      clearInterval(renewing);
      const failed = results.find(({ status }) => status === "rejected");
      if (failed) throw (failed as PromiseRejectedResult).reason;
    },
  };
}

const RENEW_EVERY_MS = 1_000;
/** 16 together, because results that arrive together share a transaction. */
const UNDER_LOAD = { count: 16, everyMs: 500 } as const;

/** Enabled webhooks, and whether they have due deliveries. Raw SQL: this runs every second. */
async function findDue({ db, now }: Ctx) {
  const rows = await db.execute(sql`
    select id, (extract(epoch from updated_at) * 1000)::bigint::text as version, exists (
      select 1 from webhook_deliveries
      where webhook_id = webhooks.id and state = 'waiting'
        and due_at <= ${now().toISOString()}::timestamptz
    ) as is_due
    from webhooks where is_enabled`);
  return rows.map((row) => ({
    id: String(row["id"]),
    version: Number(row["version"]),
    isDue: row["is_due"] === true,
  }));
}
