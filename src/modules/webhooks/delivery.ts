import { sql } from "drizzle-orm";
import type { Ctx } from "../../ctx.ts";
import { renewLeases } from "./claims.ts";
import { queueDeliveries } from "./dispatch.ts";
import { type Endpoint, openEndpoint } from "./endpoint.ts";

/**
 * Queues and sends deliveries. Each endpoint has its own workers, so a slow or dead one delays no
 * other. `run` starts workers and does not wait for them; `close` does.
 */
export function openDelivery(ctx: Ctx) {
  const endpoints = new Map<string, Endpoint>();
  const renew = () =>
    renewLeases(
      ctx,
      [...endpoints.values()].flatMap((endpoint) => endpoint.held()),
    );
  return {
    run: async (): Promise<number> => {
      await renew();
      const left = await queueDeliveries(ctx);
      const due = left === undefined ? [] : await findDue(ctx);
      for (const id of due) {
        const endpoint = endpoints.get(id) ?? openEndpoint(ctx, id);
        endpoints.set(id, endpoint);
        endpoint.start();
      }
      const failures = [...endpoints.values()].flatMap((endpoint) => endpoint.takeFailures());
      for (const [id, endpoint] of endpoints) if (endpoint.isIdle()) endpoints.delete(id);
      if (failures.length > 0) throw failures[0];
      return left ?? 0;
    },
    close: async (): Promise<void> => {
      const renewing = setInterval(() => void renew().catch(() => {}), RENEW_EVERY_MS);
      await Promise.all([...endpoints.values()].map((endpoint) => endpoint.close())).finally(() =>
        clearInterval(renewing),
      );
    },
  };
}

const RENEW_EVERY_MS = 1_000;

/** The enabled webhooks with a due delivery. Raw SQL, because this query runs every second. */
async function findDue({ db, now }: Ctx): Promise<string[]> {
  const rows = await db.execute(sql`
    select id from webhooks where is_enabled and exists (
      select 1 from webhook_deliveries
      where webhook_id = webhooks.id and state = 'waiting'
        and due_at <= ${now().toISOString()}::timestamptz
    )`);
  return rows.map(({ id }) => String(id));
}
