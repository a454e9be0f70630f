import type { Config } from "./config.ts";
import type { Embedded } from "./db/embedded/embedded.ts";
import { type OpenLog, openLog } from "./kit/log.ts";
import { type Metrics, unwatched } from "./kit/metrics.ts";

/** `worker` is a further server beside the one that has the data directory (WORKERS). */
export type Purpose = "serve" | "worker" | "migrate" | "users";

/** What one process has once, however often it reads its settings again. */
export interface Ground {
  purpose: Purpose;
  log: OpenLog;
  /** The database of DATA_DIR; undefined where DATABASE_URL names another. */
  embedded: Embedded | undefined;
  /** Whether this process was asked to end: it still answers, and says so. */
  lifecycle: { isStopping: boolean };
  /** Goes on counting, whatever is read again. */
  metrics: Metrics;
  /** The figures of all processes that serve together; undefined: this one is alone. */
  gather?: ((own: Metrics) => Promise<string>) | undefined;
  close: () => Promise<void>;
}

/** Connections of the embedded database beyond the servers' own pools: for commands beside it, and PostgreSQL's reserve. */
const SPARE_CONNECTIONS = 20;
/** While a server goes over to other settings it has two pools. */
const POOLS = 2;

/** Throws an Exit where the data directory cannot be used. */
export async function openGround(
  config: Config,
  { purpose, gather }: Pick<Ground, "purpose" | "gather">,
): Promise<Ground> {
  const log = openLog({
    level: config.logLevel,
    format: config.logFormat,
    isShared: config.workers > 1,
  });
  const embedded = config.databaseUrl ? undefined : await openEmbedded(config, purpose, log);
  const metrics = await openMetrics(config, gather);
  const close = async () => {
    await embedded?.close();
    await log.close();
  };
  return { purpose, gather, log, metrics, embedded, lifecycle: { isStopping: false }, close };
}

/** prom-client is loaded where somebody watches. */
async function openMetrics(config: Config, gather: Ground["gather"]): Promise<Metrics> {
  if (config.metricsPort === undefined && config.metricsToken === undefined) return unwatched;
  const { openMetrics: open } = await import("./adapters/metrics.ts");
  const own = open();
  return gather ? { ...own, text: () => gather(own) } : own;
}

/** Imported only where it is wanted: with a database elsewhere nothing of it is touched. */
async function openEmbedded(config: Config, command: Purpose, log: OpenLog) {
  const { openEmbedded: open } = await import("./db/embedded/embedded.ts");
  return open({
    dataDir: config.dataDir,
    holder: { command, url: config.publicUrl },
    maxConnections: config.workers * POOLS * config.databasePoolSize + SPARE_CONNECTIONS,
    warn: (sentence) => log.warn({}, sentence),
  });
}
