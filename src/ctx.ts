import type { Config } from "./config/config.ts";
import type { AccessTokens } from "./credentials/access-token.ts";
import type { DeviceTokens } from "./credentials/device-token.ts";
import type { Envelope } from "./credentials/encryption.ts";
import type { Hashing } from "./credentials/hashing.ts";
import type { KeyRing } from "./credentials/key-ring.ts";
import type { RefreshSeeds } from "./credentials/refresh-token.ts";
import type { Db } from "./db/db.ts";
import type { Log } from "./kit/log.ts";
import type { Mailer } from "./kit/mail.ts";
import type { Metrics } from "./kit/metrics.ts";
import type { PrincipalCache } from "./kit/principal-cache.ts";
import type { Tracing } from "./kit/tracing.ts";
import type { Limiter } from "./limits/limiter.ts";
import type { LimitReport } from "./limits/policies.ts";
import type { SharedMemory } from "./limits/shared-memory.ts";
import type { users } from "./modules/users/tables.ts";

/** An account as everyone may handle it: without its hash, and without what only the database compares or keeps for later. */
export type User = Omit<
  typeof users.$inferSelect,
  "passwordHash" | "emailKey" | "usernameKey" | "wantedUsername"
>;

/** What a verb may use. It is passed whole. */
export interface Ctx {
  config: Config;
  db: Db;
  devices: DeviceTokens;
  /** Keyed: for what must be recognised, and never be guessed. */
  fingerprint: (text: string) => Buffer;
  keyRing: KeyRing;
  limits: Limiter;
  log: Log;
  /** Missing where no setting says how mails go out: then they wait. */
  mail: Mailer | undefined;
  envelope: Envelope;
  hashing: Hashing;
  metrics: Metrics;
  now: () => Date;
  principals: PrincipalCache<Principal>;
  refreshSeeds: RefreshSeeds;
  shared: SharedMemory;
  tokens: AccessTokens;
  tracing: Tracing;
  readiness: () => Promise<Readiness>;
  /** Whether this process was asked to end: it still answers, and says so. */
  lifecycle: { isStopping: boolean };
}

/** What serving depends on, each in one word. Found out within a second. */
export type Readiness = Record<"database" | "migrations" | "disk", "ok" | "failed">;

/** Who is asking: nobody known, somebody with an access token, or whoever types commands on the machine. */
export type Actor = Anonymous | UserActor | { kind: "operator" };
export interface Anonymous {
  kind: "stranger";
  origin?: Origin;
}
export interface UserActor extends Principal {
  kind: "user";
  origin?: Origin;
}

/** An account, and the session in which it is signed in. */
export interface Principal {
  user: User;
  session: { id: string; createdAt: Date };
}

/** Where a request came from, as far as it can be told. */
export interface Origin extends LimitReport {
  address: string | null;
  /** Who is counted as one by its address: see `subscriberOf`. Null where nobody is: the app was asked without a socket. */
  clientKey: string | null;
  /** As the client calls itself; at most 512 UTF-16 units. */
  userAgent: string | null;
  requestId: string | null;
  /** Every device token that the client sends, in the header or a cookie. Not verified yet. */
  deviceTokens: readonly string[];
  /** The user of the first of them that we issued: the client has signed in as that user before. */
  readonly deviceUserId?: string | undefined;
}
