import type { Ctx } from "./ctx.ts";
import type { Database } from "./db/db.ts";
import type { Embedded } from "./db/embedded/embedded.ts";
import type { GaugeSource } from "./kit/metrics.ts";
import { countWaitingMails } from "./modules/mail/mail.ts";

/**
 * Values that are read from this process and its database on each scrape. What happens is counted
 * as it happens (kit/metrics).
 */
export const gauges = (
  ctx: Ctx,
  { database, embedded }: { database: Database; embedded: Embedded | undefined },
): GaugeSource[] => [
  {
    name: "bunker_hashing",
    help: "Passwords that are being hashed (running), or wait in the queue (waiting).",
    label: "state",
    read: () => {
      const { running, waiting } = ctx.hashing.counts();
      return { running, waiting };
    },
  },
  {
    name: "bunker_hashes_total",
    help: "Passwords that were hashed or verified (passed), or refused because the queue was full or the wait too long (refused).",
    label: "result",
    read: () => {
      const { done, refused } = ctx.hashing.counts();
      return { passed: done, refused };
    },
  },
  {
    name: "bunker_database_connections",
    help: "Connections of this process to the database, by state.",
    label: "state",
    read: () => {
      const { idle, busy, connecting } = database.pool();
      return { idle, busy, connecting };
    },
  },
  {
    name: "bunker_database_waiting_statements",
    help: "Statements that wait for a connection.",
    read: () => database.pool().waiting,
  },
  {
    name: "bunker_ready",
    help: "Whether each part that requests depend on is ready: 1 ready, 0 not ready.",
    label: "part",
    together: "min",
    read: async () => {
      const found = Object.entries(await ctx.readiness());
      return Object.fromEntries(found.map(([part, state]) => [part, state === "ok" ? 1 : 0]));
    },
  },
  {
    name: "bunker_database_size_bytes",
    help: "Size of the database on disk.",
    together: "max",
    read: () => database.sizeBytes(),
  },
  {
    name: "bunker_principals",
    help: "Principals in the cache of this process.",
    read: () => ctx.principals.counts().kept,
  },
  {
    name: "bunker_principal_lookups_total",
    help: "Lookups of the principal of an access token: from the cache (hit), or from the database (miss).",
    label: "result",
    read: () => {
      const { hits: hit, misses: miss } = ctx.principals.counts();
      return { hit, miss };
    },
  },
  {
    name: "bunker_limits_met_total",
    help: "Requests refused by a rate limit, by limit.",
    label: "limit",
    read: () => ctx.limits.refused(),
  },
  ...(embedded === undefined ? [] : embeddedGauges(embedded)),
  ...(ctx.config.redisUrl === undefined ? [] : [redisGauge(ctx)]),
  {
    name: "bunker_mails_waiting",
    help: "Mails in the outbox that wait to be sent.",
    together: "max",
    read: () => countWaitingMails(ctx),
  },
];

const embeddedGauges = ({ restarts, freeBytes }: Embedded): GaugeSource[] => [
  {
    name: "bunker_embedded_database_restarts_total",
    help: "Restarts of the embedded PostgreSQL after it exited unexpectedly.",
    read: restarts,
  },
  {
    name: "bunker_data_dir_free_bytes",
    help: "Free space on the disk of DATA_DIR.",
    together: "min",
    read: freeBytes,
  },
];

const redisGauge = ({ shared }: Ctx): GaugeSource => ({
  name: "bunker_redis_up",
  help: "Whether Redis is available: 1 yes, 0 no; PostgreSQL then does its work.",
  together: "min",
  read: () => (shared.state() === "ok" ? 1 : 0),
});
