import { usualCost } from "../credentials/password.ts";
import { SECRET_MIN_BYTES } from "../credentials/secret.ts";
import type { HashCost } from "../credentials/stored-hash.ts";
import { type Algorithm, algorithms } from "../credentials/token-key.ts";
import { isCompiled } from "../kit/build.ts";
import { networks } from "../kit/network.ts";
import { formatPolicies, type Policies, policies, readPolicies } from "../limits/policies.ts";
import { mailSettings } from "./mail-settings.ts";
import { operationSettings } from "./operation-settings.ts";
import { postgresUrl } from "./service-urls.ts";
import {
  directory,
  hashCost,
  headerName,
  integer,
  oneOf,
  readableFile,
  secretKey,
  setting,
  text,
  webOrigin,
  webOrigins,
} from "./setting.ts";

const environments = ["development", "production"] as const;

/**
 * Every setting of Bunker. Settings that others depend on come first. `.env.example` and
 * docs/configuration.md are printed from this list.
 */
export const settings = {
  environment: setting({
    name: "BUNKER_ENV",
    doc: "`production` or `development`. Development listens on this machine only and makes its own SECRET_KEY.",
    shown: "production in the binary, development from source",
    parse: oneOf(environments),
    fallback: () => (isCompiled ? "production" : "development"),
  }),
  host: setting({
    name: "HOST",
    doc: "The address to listen on.",
    shown: "0.0.0.0 in production, 127.0.0.1 in development",
    parse: text,
    fallback: ({ isProduction }) => (isProduction ? "0.0.0.0" : "127.0.0.1"),
  }),
  port: setting({
    name: "PORT",
    doc: "The port to listen on.",
    parse: integer(1, 65_535),
    fallback: () => 3000,
  }),
  publicUrl: setting({
    name: "PUBLIC_URL",
    doc: "The origin under which people reach this service, such as `https://accounts.example.com`, without a path; the issuer of its tokens. `bunker serve` requires it in production with DATABASE_URL or MAIL_URL.",
    shown: "http://localhost:<PORT>",
    parse: webOrigin,
    fallback: ({ port }) => `http://localhost:${port}`,
  }),
  allowHttp: setting({
    name: "PUBLIC_URL_ALLOW_HTTP",
    doc: "`on`: PUBLIC_URL may be `http` in production, also on a host that is not local. Passwords and tokens are then sent in the clear.",
    parse: oneOf(["on", "off"]),
    fallback: () => "off",
  }),
  corsOrigins: setting<string[]>({
    name: "CORS_ORIGINS",
    doc: "Other origins whose pages may call this service in a browser (CORS) and send forms to it, such as `https://app.example.com`: exact, with commas or blanks between. A form that a browser sends from any other site is refused. In development, every port of `http://localhost` and `http://127.0.0.1` is allowed as well.",
    shown: "none",
    parse: webOrigins,
    fallback: () => [],
  }),
  dataDir: setting({
    name: "DATA_DIR",
    doc: "Where the embedded database lives, and the secret key that Bunker makes for itself.",
    parse: directory,
    fallback: () => "./data",
  }),
  databaseUrl: setting<string | undefined>({
    name: "DATABASE_URL",
    doc: "A PostgreSQL server, 15 or newer: `postgres://user:password@host:5432/name?sslmode=verify-full`. Without `sslmode`: `prefer`, which checks nothing. Empty: the embedded database.",
    shown: "the embedded database",
    isSecret: true,
    parse: postgresUrl,
    fallback: () => undefined,
  }),
  databaseCaFile: setting<string | undefined>({
    name: "DATABASE_CA_FILE",
    doc: "A PEM file with the certificate authority of the database server, for `sslmode=verify-ca` and `verify-full`.",
    shown: "the system's authorities",
    parse: readableFile,
    fallback: () => undefined,
  }),
  databaseDirectUrl: setting<string | undefined>({
    name: "DATABASE_DIRECT_URL",
    doc: "The same database without the pooler that DATABASE_URL leads through, for migrations and for news of changed accounts. See docs/scaling.md.",
    shown: "DATABASE_URL",
    isSecret: true,
    parse: postgresUrl,
    fallback: () => undefined,
  }),
  databasePrepare: setting({
    name: "DATABASE_PREPARE",
    doc: "`off`: DATABASE_URL leads to a pooler in transaction mode, such as PgBouncer: no prepared statements, no settings of a session. See docs/scaling.md.",
    parse: oneOf(["on", "off"]),
    fallback: () => "on",
  }),
  databasePoolSize: setting({
    name: "DATABASE_POOL_SIZE",
    doc: "How many connections to the database one process holds at most.",
    parse: integer(1, 500),
    fallback: () => 10,
  }),
  databaseConnectTimeoutSeconds: setting({
    name: "DATABASE_CONNECT_TIMEOUT_SECONDS",
    doc: "How long to wait for a new connection to the database.",
    parse: integer(1, 60),
    fallback: () => 3,
  }),
  databaseStatementTimeoutSeconds: setting({
    name: "DATABASE_STATEMENT_TIMEOUT_SECONDS",
    doc: "How long one statement may take before the database gives it up.",
    parse: integer(1, 600),
    fallback: () => 5,
  }),
  secretKey: setting<string | undefined>({
    name: "SECRET_KEY",
    doc: `Signs the access tokens: at least ${SECRET_MIN_BYTES} random bytes (\`openssl rand -hex 32\`). Required in production with DATABASE_URL.`,
    shown: "made once, kept in DATA_DIR/secret_key",
    isSecret: true,
    parse: secretKey,
    fallback: () => undefined,
  }),
  secretKeys: setting<string[]>({
    name: "SECRET_KEYS",
    doc: "Other secret keys whose tokens are still good, or already: with commas between. See docs/keys.md.",
    shown: "none",
    isSecret: true,
    parse: (value) => value.split(",").map((one) => secretKey(one.trim())),
    fallback: () => [],
  }),
  algorithm: setting<Algorithm>({
    name: "ALGORITHM",
    doc: "How access tokens are signed: `HS256` with SECRET_KEY; `EdDSA` or `ES256` with key pairs that Bunker makes, rotates by `bunker keys rotate`, and publishes for others to verify with.",
    parse: oneOf(algorithms),
    fallback: () => "HS256",
  }),
  accessTokenExpireMinutes: setting({
    name: "ACCESS_TOKEN_EXPIRE_MINUTES",
    doc: "How long an access token is good for; at most a day.",
    parse: integer(1, 1440),
    fallback: () => 15,
  }),
  refreshGraceSeconds: setting({
    name: "REFRESH_GRACE_SECONDS",
    doc: "For how long the client that spent a refresh token may send it again, and gets the same successor: a lost answer or a second tab ends no session. 0: any reuse ends the session.",
    parse: integer(0, 300),
    fallback: () => 10,
  }),
  sessionIdleDays: setting({
    name: "SESSION_IDLE_DAYS",
    doc: "After how many days without a refresh a session ends.",
    parse: integer(1, 365),
    fallback: () => 30,
  }),
  sessionMaxDays: setting({
    name: "SESSION_MAX_DAYS",
    doc: "After how many days a session ends in any case.",
    parse: integer(1, 3650),
    fallback: () => 90,
  }),
  sessionsPerAccount: setting({
    name: "SESSIONS_PER_ACCOUNT",
    doc: "How many sessions one account keeps: a sign-in beyond ends those that were unused for longest. Of many sign-ins at once all are let in, and the next one ends what is too many.",
    parse: integer(1, 10_000),
    fallback: () => 100,
  }),
  principalCacheSize: setting({
    name: "PRINCIPAL_CACHE_SIZE",
    doc: "How many signed-in people one process remembers, about 1 KiB each. What happens to an account is felt within a second all the same. `0`: each request reads from the database.",
    parse: integer(0, 10_000_000),
    fallback: () => 20_000,
  }),
  audience: setting({
    name: "AUDIENCE",
    doc: "The audience of the access tokens (`aud`).",
    shown: "PUBLIC_URL",
    parse: text,
    fallback: ({ publicUrl }) => publicUrl,
  }),
  registration: setting({
    name: "REGISTRATION",
    doc: "`open`: whoever comes may register. `closed`: only `bunker users create` makes accounts.",
    parse: oneOf(["open", "closed"]),
    fallback: () => "open",
  }),
  oauthPasswordGrant: setting({
    name: "OAUTH_PASSWORD_GRANT",
    doc: "`on`: /oauth/token takes the password grant too, which RFC 9700 (section 2.4) forbids. The first-party way is POST /api/v1/auth/login.",
    parse: oneOf(["on", "off"]),
    fallback: () => "off",
  }),
  passwordHash: setting<HashCost>({
    name: "PASSWORD_HASH",
    doc: "What one Argon2id hash costs: KiB of memory and passes, such as `m=19456,t=2`. `bunker password calibrate` proposes one. Older hashes are raised at sign-in.",
    shown: "m=19456,t=2",
    parse: hashCost,
    fallback: () => usualCost,
    format: ({ kibibytes, passes }) => `m=${kibibytes},t=${passes}`,
  }),
  passwordMinLength: setting({
    name: "PASSWORD_MIN_LENGTH",
    doc: "The shortest password, in characters. OWASP ASVS 5.0 (6.2.1) allows 8; NIST SP 800-63B-4 asks for 15 where a password stands alone.",
    parse: integer(8, 64),
    fallback: () => 8,
  }),
  firstSuperuserEmail: setting<string | undefined>({
    name: "FIRST_SUPERUSER_EMAIL",
    doc: "With FIRST_SUPERUSER_PASSWORD: makes this superuser at the start, while there is none.",
    shown: "none",
    parse: text,
    fallback: () => undefined,
  }),
  firstSuperuserPassword: setting<string | undefined>({
    name: "FIRST_SUPERUSER_PASSWORD",
    doc: "See FIRST_SUPERUSER_EMAIL. The rules for passwords hold here too.",
    shown: "none",
    isSecret: true,
    mayHaveBlanks: true,
    parse: text,
    fallback: () => undefined,
  }),
  ...mailSettings,
  trustedProxies: setting<string[]>({
    name: "TRUSTED_PROXIES",
    doc: "Proxies that are believed when they say who asks: addresses and networks, such as `10.0.0.0/8, 2001:db8::/32`.",
    shown: "none",
    parse: networks,
    fallback: () => [],
  }),
  clientAddressHeader: setting({
    name: "CLIENT_ADDRESS_HEADER",
    doc: "The header in which they say it, if not `X-Forwarded-For`, of which the last address is taken that is not trusted: `Fly-Client-IP` on Fly.io, `CF-Connecting-IP` behind Cloudflare and on Render. Only one that the proxy always sets itself.",
    shown: "X-Forwarded-For",
    parse: headerName,
    fallback: () => "x-forwarded-for",
  }),
  limits: setting<Policies>({
    name: "LIMITS",
    doc: "Other limits than those of docs/limits.md: `register=50/3600, login=10+5/60` (50 an hour; 10 at once, then 5 a minute).",
    shown: "as docs/limits.md has them",
    parse: readPolicies,
    fallback: () => policies,
    format: formatPolicies,
  }),
  rateLimit: setting({
    name: "RATE_LIMIT",
    doc: "`off` switches all limits on requests off: for tests and benches only.",
    parse: oneOf(["on", "off"]),
    fallback: () => "on",
  }),
  ...operationSettings,
};
