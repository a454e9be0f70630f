import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Config } from "./config/config.ts";
import { readOrCreateSecretKey } from "./config/secret-key-file.ts";
import { weaknessOf } from "./credentials/secret.ts";
import type { Embedded } from "./db/embedded/embedded.ts";
import { Exit, misconfigured } from "./kit/exit.ts";
import { type Load, openLoad } from "./kit/load.ts";
import { type LogOptions, type OpenLog, openLog } from "./kit/log.ts";
import { type Metrics, noMetrics } from "./kit/metrics.ts";

/**
 * A `worker` is a worker process beside the primary process, which holds the data directory
 * (WORKERS). A `command` uses an existing database and never creates one.
 */
export type ProcessPurpose = "serve" | "worker" | "migrate" | "command";

/** What a process opens once. A reload keeps it. */
export interface Runtime {
  purpose: ProcessPurpose;
  log: OpenLog;
  /** The embedded PostgreSQL of DATA_DIR; undefined if DATABASE_URL is set. */
  embedded: Embedded | undefined;
  /**
   * `isStopping`: a graceful shutdown has begun. The process still serves, and /readyz reports it.
   */
  lifecycle: { isStopping: boolean };
  load: Load;
  /** Keeps counting across reloads. */
  metrics: Metrics;
  /** The metrics of all processes (WORKERS) as text; undefined if there is only one process. */
  gather?: ((own: Metrics) => Promise<string>) | undefined;
  close: () => Promise<void>;
}

export type RuntimeOptions = Pick<Runtime, "purpose" | "gather"> & Pick<LogOptions, "isColored">;

/** Connections beyond the pools of the servers: for commands, and PostgreSQL's own reserve. */
const SPARE_CONNECTIONS = 20;
const KEY_MAX_MS = 2_000;
/** During a reload, a server has two pools. */
const POOLS = 2;

/** Throws an Exit if the data directory cannot be used. */
export async function openRuntime(
  config: Config,
  { purpose, gather, isColored = false }: RuntimeOptions,
): Promise<Runtime> {
  const log = openLog({
    level: config.logLevel,
    format: config.logFormat,
    isShared: config.workers > 1,
    isColored,
  });
  const embedded = config.databaseUrl ? undefined : await openEmbedded(config, purpose, log);
  const metrics = await openMetrics(config, gather);
  const close = async () => {
    await embedded?.close();
    await log.close();
  };
  return {
    purpose,
    gather,
    log,
    metrics,
    embedded,
    lifecycle: { isStopping: false },
    load: openLoad(availableParallelism() / config.workers),
    close,
  };
}

/** Loads prom-client only if metrics are enabled. */
async function openMetrics(config: Config, gather: Runtime["gather"]): Promise<Metrics> {
  if (config.metricsPort === undefined && config.metricsToken === undefined) return noMetrics;
  const { openMetrics: open } = await import("./adapters/metrics.ts");
  const own = open();
  return gather ? { ...own, text: () => gather(own) } : own;
}

/** Imported only if needed: with DATABASE_URL, no embedded PostgreSQL is touched. */
async function openEmbedded(config: Config, command: ProcessPurpose, log: OpenLog) {
  const { openEmbedded: open } = await import("./db/embedded/embedded.ts");
  return open({
    dataDir: config.dataDir,
    holder: { command, url: config.publicUrl },
    maxConnections: config.workers * POOLS * config.databasePoolSize + SPARE_CONNECTIONS,
    warn: (sentence) => log.warn({}, sentence),
  });
}

/**
 * Reads the secret key in the data directory. Only a server creates one: a command with a key of
 * its own could not decrypt what the server encrypted. Throws an Exit if there is no usable key.
 */
export async function secretIn(
  config: Config,
  { purpose, embedded }: Runtime,
  checkDatabase: () => Promise<unknown>,
): Promise<string> {
  const { dataDir } = config;
  const hasKey = () => existsSync(join(dataDir, "secret_key"));
  // A starting server creates the key as soon as its database is ready.
  const giveUpAt = performance.now() + (embedded?.isServed ? KEY_MAX_MS : 0);
  while (purpose === "command" && !hasKey() && performance.now() < giveUpAt) await sleep(20);
  if (purpose === "command" && !hasKey()) {
    // Report a database that does not answer before a missing key.
    await checkDatabase();
    throw new Exit(
      "noDataDir",
      `There is no secret key in ${resolve(dataDir)}. Nothing was created. Set DATA_DIR or SECRET_KEY to the value that the server has.`,
    );
  }
  try {
    const secret = readOrCreateSecretKey(dataDir, embedded?.owner);
    const weakness = weaknessOf(secret);
    if (weakness)
      throw misconfigured(
        `The key in ${dataDir}/secret_key ${weakness}. Remove the file: Bunker then generates a new key.`,
      );
    return secret;
  } catch (error) {
    if (error instanceof Exit) throw error;
    const { code } = error as NodeJS.ErrnoException;
    throw misconfigured(
      `DATA_DIR: cannot store a secret key in ${dataDir} (${code}). Set SECRET_KEY, or another DATA_DIR.`,
    );
  }
}
