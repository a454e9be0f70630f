import type { Ctx } from "./ctx.ts";
import type { Database } from "./db/db.ts";
import type { Embedded } from "./db/embedded/embedded.ts";
import { version } from "./kit/build.ts";
import type { Collectors } from "./kit/metrics.ts";
import { checkState } from "./limits/shared-store.ts";
import { readLags } from "./modules/events/sinks.ts";
import { unsettledSeconds } from "./modules/events/unsettled.ts";
import { countWaitingMails } from "./modules/mail/waiting.ts";
import { countWaiting, countWebhooks } from "./modules/webhooks/deliveries.ts";

interface Sources {
  database: Database;
  embedded: Embedded | undefined;
}

/** The metrics that are read from this process and its database at each scrape. */
export const collectors = (ctx: Ctx, { database, embedded }: Sources): Collectors => ({
  bunker_password_hashes_running: () => ctx.hashing.counts().running,
  bunker_password_hashes_queued: () => ctx.hashing.counts().waiting,
  bunker_password_hashes_total: () => {
    const { done: completed, refused } = ctx.hashing.counts();
    return { completed, refused };
  },
  bunker_principal_cache_entries: () => ctx.principals.counts().kept,
  bunker_principal_cache_lookups_total: () => {
    const { hits: hit, misses: miss } = ctx.principals.counts();
    return { hit, miss };
  },
  bunker_rate_limited_requests_total: () => ctx.limits.refused(),
  bunker_database_connections: () => {
    const { idle, busy: active, connecting } = database.pool();
    return { idle, active, connecting };
  },
  bunker_database_statements_queued: () => database.pool().waiting,
  bunker_database_size_bytes: () => database.sizeBytes(),
  bunker_ready: async () => {
    const checks = Object.entries(await ctx.readiness());
    return Object.fromEntries(checks.map(([check, state]) => [check, state === "ok" ? 1 : 0]));
  },
  bunker_events_unsettled_seconds: () => unsettledSeconds(ctx),
  bunker_streams_open: () => ctx.streams.counts().open,
  bunker_streams_ended_total: () => ctx.streams.counts().ended,
  bunker_mails_queued: () => countWaitingMails(ctx),
  bunker_webhooks: () => countWebhooks(ctx),
  bunker_webhook_deliveries_waiting: () => countWaiting(ctx),
  bunker_build_info: () => ({ [version]: 1 }),
  ...(embedded && {
    bunker_embedded_database_restarts_total: embedded.restarts,
    bunker_data_dir_free_bytes: embedded.freeBytes,
  }),
  bunker_event_sink_lag_seconds: () => readLags(ctx),
  ...(ctx.config.redisUrl !== undefined && {
    bunker_redis_up: async () => ((await checkState(ctx.sharedStore)) === "ok" ? 1 : 0),
  }),
});
