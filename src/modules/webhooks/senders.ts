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
  const startDue = async () => {
    const enabled = await findEnabled(ctx);
    const versions = new Map(enabled.map(({ id, version }) => [id, version]));
    for (const [id, endpoint] of endpoints) endpoint.releaseUnless(versions.get(id));
    for (const { id } of enabled.filter(({ isDue }) => isDue)) {
      const endpoint = endpoints.get(id) ?? openEndpoint(ctx, id);
      endpoints.set(id, endpoint);
      endpoint.start();
    }
  };
  return {
    run: async (): Promise<number> => {
      await renew();
      const left = await queueDeliveries(ctx);
      if (left !== undefined || endpoints.size > 0) await startDue();
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

/** Raw SQL, because this query runs every second. */
async function findEnabled({ db, now }: Ctx) {
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
