import type { Config } from "./config/config.ts";
import type { AccessTokens } from "./credentials/access-token.ts";
import type { DeviceTokens } from "./credentials/device-token.ts";
import type { Encryption, MailEncryption } from "./credentials/encryption.ts";
import type { Hashing } from "./credentials/hashing.ts";
import type { KeyRing } from "./credentials/key-ring.ts";
import type { RefreshSeeds } from "./credentials/refresh-token.ts";
import type { Db } from "./db/db.ts";
import type { Broker } from "./kit/broker.ts";
import type { EventSignal } from "./kit/event-signal.ts";
import type { EventStreams } from "./kit/event-streams.ts";
import type { Load } from "./kit/load.ts";
import type { Log } from "./kit/log.ts";
import type { Mailer } from "./kit/mail.ts";
import type { Metrics } from "./kit/metrics.ts";
import type { Outgoing } from "./kit/outgoing.ts";
import type { PrincipalCache } from "./kit/principal-cache.ts";
import type { Tracing } from "./kit/tracing.ts";
import type { Limiter } from "./limits/limiter.ts";
import type { LimitReport } from "./limits/policies.ts";
import type { SharedStore } from "./limits/shared-store.ts";
import type { users } from "./modules/users/tables.ts";

/** A user without the password hash and without columns that only the database needs. */
export type User = Omit<typeof users.$inferSelect, "passwordHash" | "emailKey" | "usernameKey">;

/** What a verb may use. It is passed whole. */
export interface Ctx {
  /** Undefined if BROKER_URL is not set. */
  broker: Broker | undefined;
  config: Config;
  db: Db;
  devices: DeviceTokens;
  eventSignal: EventSignal;
  /** A keyed hash, for values that must be recognized but not guessed. */
  fingerprint: (text: string) => Buffer;
  keyRing: KeyRing;
  limits: Limiter;
  load: Load;
  log: Log;
  /** Undefined if MAIL_URL is not set: mails wait in the outbox then. */
  mail: Mailer | undefined;
  mailEncryption: MailEncryption;
  hashing: Hashing;
  metrics: Metrics;
  now: () => Date;
  outgoing: Outgoing;
  principals: PrincipalCache<Principal>;
  refreshSeeds: RefreshSeeds;
  sharedStore: SharedStore;
  streams: EventStreams;
  tokens: AccessTokens;
  tracing: Tracing;
  webhookEncryption: Encryption;
  readiness: () => Promise<Readiness>;
  /** `isStopping`: a graceful shutdown has begun. The process still serves. */
  lifecycle: { isStopping: boolean };
}

/** The state of each part that serving depends on. Determined within a second. */
export type Readiness = Record<"database" | "migrations" | "disk", "ok" | "failed">;

/** Who a verb acts for. The operator uses the command line. */
export type Actor = Anonymous | UserActor | { kind: "operator" };
export interface Anonymous {
  kind: "anonymous";
  origin?: Origin;
}
export interface UserActor extends Principal {
  kind: "user";
  /** When the access token of the request expires. */
  expiresAt?: Date;
  origin?: Origin;
}

/** The user and the session behind a request. */
export interface Principal {
  user: User;
  session: { id: string; createdAt: Date };
}

/** Where a request came from, as far as it is known. */
export interface Origin extends LimitReport {
  ip: string | null;
  /** How limits count a client: see `clientKeyOf`. Null for a request without a socket. */
  clientKey: string | null;
  /** The User-Agent header, cut to 512 UTF-16 units. */
  userAgent: string | null;
  requestId: string | null;
  /** Every device token of the request, from the header and cookies. Not verified yet. */
  deviceTokens: readonly string[];
  /** The user of the first device token that is valid: this client has signed in as that user. */
  readonly deviceUserId?: string | undefined;
}

/** A background job. It runs on every instance. */
export interface Job {
  everyMs: number;
  /** Also runs at the start. The start does not wait for it. */
  isUrgent?: true;
  /**
   * Also runs when events were recorded, while readers of `ctx.eventSignal` are active. Under load,
   * it does one part twice a second, so that requests come first.
   */
  isWokenByEvents?: true;
  /**
   * Does a part of the work, and returns how much: 0 when nothing is left. In `logged`, the job
   * remembers what it logs only once while the server runs.
   */
  run: (ctx: Ctx, logged: Set<string>) => Promise<number>;
  /** Called when the job has stopped. */
  stop?: (ctx: Ctx) => Promise<void>;
}

/** A job with state, or with work that `run` starts and does not wait for. `close` waits for it. */
export interface OpenJob extends Omit<Job, "run" | "stop"> {
  open: (ctx: Ctx) => { run: () => Promise<number>; close: () => Promise<void> };
}
