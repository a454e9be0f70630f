import { hostname } from "node:os";
import { openOutgoing } from "./adapters/outgoing.ts";
import type { Config } from "./config/config.ts";
import { readPostgresUrl } from "./config/postgres-url.ts";
import { accessTokens } from "./credentials/access-token.ts";
import { deviceTokens } from "./credentials/device-token.ts";
import { openEncryption, openMailEncryption } from "./credentials/encryption.ts";
import { boundsFor, type HashingBounds, openHashing } from "./credentials/hashing.ts";
import { openKeyRing } from "./credentials/key-ring.ts";
import { refreshSeeds } from "./credentials/refresh-token.ts";
import { derivedKey, derivedKeys, fingerprints } from "./credentials/secret.ts";
import type { Ctx, Principal } from "./ctx.ts";
import { openChanges } from "./db/changes.ts";
import { checkDatabase } from "./db/checks.ts";
import { type Database, openDatabase, type Place } from "./db/db.ts";
import { explained } from "./db/explain.ts";
import { type MigrationStatus, migrate, migrationStatus } from "./db/migrate.ts";
import { type Broker, brokerOf } from "./kit/broker.ts";
import { misconfigured } from "./kit/exit.ts";
import type { Log } from "./kit/log.ts";
import type { MailAddress, Mailer } from "./kit/mail.ts";
import { noTracing, type Tracing } from "./kit/tracing.ts";
import { openLimiter } from "./limits/limiter.ts";
import { noSharedStore, type SharedStore } from "./limits/shared-store.ts";
import type { openRenderer } from "./modules/mail/render.ts";
import { openEventStreams } from "./modules/streams/streams.ts";
import { openReadiness } from "./readiness.ts";
import { openRuntime, type Runtime, type RuntimeOptions, secretIn } from "./runtime.ts";

interface Schema {
  database: Database;
  /** Checks the database and its migrations. Throws an Exit that says what to do. */
  checkSchema: () => Promise<MigrationStatus>;
  /** Applies pending migrations and returns their names. Throws an Exit like `checkSchema`. */
  migrate: () => Promise<string[]>;
  close: () => Promise<void>;
}
export interface Wired extends Schema {
  ctx: Ctx;
}
interface WiredOnce extends Wired {
  /** Whether a running server holds the embedded database. That server also migrates it. */
  isBesideServer: boolean;
}

type Opened =
  | "broker"
  | "eventSignal"
  | "lifecycle"
  | "load"
  | "log"
  | "mail"
  | "metrics"
  | "now"
  | "principals"
  | "readiness";

/** What a Ctx needs besides the settings. `wire` opens these for a server; tests pass their own. */
export interface Parts extends Pick<Ctx, Opened | "sharedStore" | "tracing"> {
  database: Pick<Database, "db" | "sql">;
  /** The current secret key first, then older ones. */
  secrets: readonly [string, ...string[]];
  hashingBounds: HashingBounds;
}

/** Composes the Ctx of all verbs. Does no I/O. */
export function createCtx(
  config: Config,
  { database, secrets, hashingBounds: bounds, ...parts }: Parts,
): Ctx {
  const { now, sharedStore, tracing } = parts;
  const keyRing = openKeyRing({ algorithm: config.algorithm, secrets });
  const ctx: Ctx = {
    ...parts,
    config,
    db: database.db,
    devices: deviceTokens(derivedKeys(secrets, "device tokens")),
    mailEncryption: openMailEncryption(derivedKeys(secrets, "mails")),
    webhookEncryption: openEncryption(derivedKeys(secrets, "webhooks")),
    fingerprint: fingerprints(secrets[0]),
    hashing: openHashing({ ...bounds, cost: config.passwordHash, tracing }),
    keyRing,
    limits: openLimiter({
      isOn: config.rateLimit === "on",
      policies: config.limits,
      database,
      sharedStore,
      key: derivedKey(secrets[0], "limits"),
      now,
    }),
    outgoing: openOutgoing(config, { now }),
    refreshSeeds: refreshSeeds(derivedKeys(secrets, "refresh tokens")),
    tokens: accessTokens({
      keys: keyRing,
      issuer: config.publicUrl,
      audience: config.audience,
      lifetimeSeconds: config.accessTokenExpireMinutes * 60,
      remembered: config.principalCacheSize,
    }),
    streams: openEventStreams(() => ctx),
  };
  return ctx;
}

/** The number of hex digits that keep the keys of installations on one Redis apart. */
const PREFIX_LENGTH = 16;

/** Opens every external part that `config` names. Throws an Exit if one is unavailable. */
export async function wire(config: Config, runtime: Runtime): Promise<Wired> {
  const { log, metrics, embedded, lifecycle, load } = runtime;
  const isServer = runtime.purpose === "serve" || runtime.purpose === "worker";
  // Validate the mail templates first, before opening anything that needs cleanup.
  const mail = await mailerOf(config);
  const tracing = await tracingOf(config, log);
  const { database, direct } = databaseOf(config, runtime, tracing);
  const schema = schemaOf(config, runtime, database);
  const { principals, eventSignal, closeChanges } = openChanges<Principal>({
    place: direct,
    pool: database.sql,
    log,
    cacheSize: config.principalCacheSize,
    load,
  });
  const broker = await openedBroker(config);
  let sharedStore = noSharedStore;
  const close = async () => {
    mail?.close();
    await broker?.close();
    sharedStore.close();
    await closeChanges();
    await database.close();
    await tracing.close();
  };
  try {
    const secret = config.secretKey ?? (await secretIn(config, runtime, schema.checkSchema));
    sharedStore = await sharedStoreOf(config, { secret, log, isOnDemand: !isServer });
    const ctx = createCtx(config, {
      broker,
      database,
      eventSignal,
      lifecycle,
      load,
      log,
      mail,
      metrics,
      sharedStore,
      tracing,
      now: () => new Date(),
      principals,
      readiness: openReadiness({ database, log, embedded }),
      secrets: [secret, ...config.secretKeys],
      hashingBounds: boundsFor(config),
    });
    return { ctx, database, ...schema, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Opens everything for a single command. `close` also closes its runtime. */
export const wireOnce = (config: Config, options: RuntimeOptions): Promise<WiredOnce> =>
  withRuntime(config, options, async (runtime) => ({
    ...(await wire(config, runtime)),
    isBesideServer: runtime.embedded?.isServed ?? false,
  }));

/** Opens only the database, for a command that works on its schema and needs no secret key. */
export const openSchema = (config: Config, options: RuntimeOptions): Promise<Schema> =>
  withRuntime(config, options, async (runtime) => {
    const { database } = databaseOf(config, runtime, noTracing);
    return { database, ...schemaOf(config, runtime, database), close: database.close };
  });

const schemaOf = (
  config: Config,
  { log }: Runtime,
  database: Database,
): Pick<Schema, "checkSchema" | "migrate"> => ({
  checkSchema: () => explained(config, false, () => readStatus(database, config, log)),
  migrate: () => explained(config, true, () => database.alone(migrate)),
});

async function withRuntime<T extends { close: () => Promise<void> }>(
  config: Config,
  options: RuntimeOptions,
  open: (runtime: Runtime) => Promise<T>,
): Promise<T> {
  const runtime = await openRuntime(config, options);
  try {
    const opened = await open(runtime);
    const close = async () => {
      await opened.close();
      await runtime.close();
    };
    return { ...opened, close };
  } catch (error) {
    await runtime.close();
    throw error;
  }
}

function databaseOf(config: Config, { embedded }: Runtime, tracing: Tracing) {
  const place: Place = embedded ?? placeOf(config);
  const direct = directOf(config) ?? place;
  const database = openDatabase({
    place,
    direct,
    tracing,
    poolSize: config.databasePoolSize,
    connectTimeoutSeconds: config.databaseConnectTimeoutSeconds,
    statementTimeoutSeconds: config.databaseStatementTimeoutSeconds,
  });
  return { database, direct };
}

const placeOf = ({ databaseUrl: url = "", databaseCaFile: caFile, databasePrepare }: Config) => ({
  url,
  caFile,
  isPooled: databasePrepare === "off" || readPostgresUrl(url).isPooler,
});

const directOf = ({ databaseDirectUrl: url, databaseCaFile: caFile }: Config): Place | undefined =>
  url === undefined ? undefined : { url, caFile };

/**
 * A server does not wait for the connection: until Redis is available, the database does its work.
 * A command connects only if it changes a counter.
 */
async function sharedStoreOf(
  { redisUrl }: Config,
  { secret, log, isOnDemand }: { secret: string; log: Log; isOnDemand: boolean },
): Promise<SharedStore> {
  if (redisUrl === undefined) return noSharedStore;
  const { openRedis } = await import("./adapters/redis.ts");
  const installation = derivedKey(secret, "shared memory").toString("hex").slice(0, PREFIX_LENGTH);
  return openRedis(new URL(redisUrl), { prefix: `bunker:${installation}:`, log, isOnDemand });
}

/** Connects with the first event. */
async function openedBroker({ brokerUrl }: Config): Promise<Broker | undefined> {
  if (brokerUrl === undefined) return undefined;
  const { openBroker } = await import("./adapters/broker.ts");
  return brokerOf(openBroker(brokerUrl), `${hostname()}/${process.pid}`);
}

/** Loads the exporter only if OTLP_URL is set. */
async function tracingOf(config: Config, log: Log): Promise<Tracing> {
  if (config.otlpUrl === undefined) return noTracing;
  const { openOtlp } = await import("./adapters/otlp.ts");
  return openOtlp(new URL(config.otlpUrl), {
    sample: config.traceSample,
    chance: Math.random,
    now: () => new Date(),
    headers: config.otlpHeaders,
    log,
  });
}

/** Loads the templates with the first mail. Connects to nothing yet. */
async function mailerOf(config: Config): Promise<Mailer | undefined> {
  if (config.mailTemplates !== undefined) await checkTemplates(config.mailTemplates);
  if (config.mailUrl === undefined) return undefined;
  const { openMail } = await import("./adapters/mail.ts");
  const from = config.mailFrom;
  const brand = { name: config.brandName, color: config.brandColor, logo: config.brandLogo };
  let renderer: ReturnType<typeof openRenderer> | undefined;
  const transport = await openMail(config.mailUrl, {
    dkim: dkimOf(config, from),
    caFile: config.mailCaFile,
    ehlo: config.mailEhlo ?? new URL(config.publicUrl).hostname,
  });
  const render: Mailer["render"] = async (...mail) => {
    const { openRenderer } = await import("./modules/mail/render.ts");
    renderer ??= openRenderer(brand, config.mailTemplates);
    return renderer(...mail);
  };
  return { ...transport, from, render, isUnavailable: false };
}

async function checkTemplates(folder: string): Promise<void> {
  const { faultsIn } = await import("./modules/mail/render.ts");
  const faults = faultsIn(folder);
  if (faults.length > 0) throw misconfigured(`MAIL_TEMPLATES: ${faults.join("; ")}.`);
}

function dkimOf(
  { mailDkimKey: privateKey, mailDkimSelector: keySelector }: Config,
  { address }: MailAddress,
) {
  const [, domainName = ""] = address.split("@");
  return privateKey === undefined ? undefined : { domainName, keySelector, privateKey };
}

async function readStatus({ sql }: Database, config: Config, log: Log): Promise<MigrationStatus> {
  const isPooled = config.databaseUrl !== undefined && placeOf(config).isPooled;
  const { warnings, isMigrated, checkMigration } = await checkDatabase(sql, { isPooled });
  for (const warning of warnings) log.warn({}, warning);
  const status = await migrationStatus(sql, { isMigrated });
  if (status.pending.length > 0) checkMigration();
  return status;
}
