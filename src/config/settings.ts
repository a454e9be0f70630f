import { usualCost } from "../credentials/password.ts";
import { SECRET_MIN_BYTES } from "../credentials/secret.ts";
import type { HashCost } from "../credentials/stored-hash.ts";
import { type Algorithm, algorithms } from "../credentials/token-key.ts";
import { isCompiled } from "../kit/build.ts";
import { networks } from "../kit/network.ts";
import { formatPolicies, type Policies, policies, readPolicies } from "../limits/policies.ts";
import { productSettings } from "../product/settings.ts";
import { mailSettings } from "./mail-settings.ts";
import { operationSettings } from "./operation-settings.ts";
import { postgresUrl } from "./service-urls.ts";
import {
  directory,
  hashCost,
  headerName,
  integer,
  joinSettings,
  oneOf,
  onOff,
  optional,
  readableFile,
  secretKey,
  setting,
  text,
  webOrigin,
  webOrigins,
} from "./setting.ts";

const environments = ["development", "production"] as const;

/** Settings that others depend on come first. Printed to docs/configuration.md, .env.example. */
const bunkerSettings = {
  environment: setting({
    name: "BUNKER_ENV",
    doc: "`production` or `development`. In development, Bunker listens on this machine only and generates its own SECRET_KEY.",
    shown: "production in the binary, development from source",
    parse: oneOf(environments),
    fallback: () => (isCompiled ? "production" : "development"),
  }),
  host: setting({
    name: "HOST",
    doc: "The IP or host name to listen on.",
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
    doc: "The public origin of this service, without a path, such as `https://accounts.example.com`. It is also the issuer of its tokens. `bunker serve` requires it in production with DATABASE_URL or MAIL_URL.",
    shown: "http://localhost:<PORT>",
    parse: webOrigin,
    fallback: ({ port }) => `http://localhost:${port}`,
  }),
  allowHttp: onOff({
    name: "PUBLIC_URL_ALLOW_HTTP",
    doc: "`on`: allows an `http` PUBLIC_URL in production, also for a host that is not local. Passwords and tokens are then sent unencrypted.",
    fallback: "off",
  }),
  corsOrigins: setting<string[]>({
    name: "CORS_ORIGINS",
    doc: "Other origins whose pages may call this service in a browser (CORS) and send forms to it, such as `https://app.example.com`. Each is an exact origin; separate them with commas or blanks. Forms from any other site are refused. In development, every port of `http://localhost` and `http://127.0.0.1` is also allowed.",
    shown: "none",
    parse: webOrigins,
    fallback: () => [],
  }),
  dataDir: setting({
    name: "DATA_DIR",
    doc: "The directory of the embedded database and of the secret key that Bunker generates.",
    parse: directory,
    fallback: () => "./data",
  }),
  databaseUrl: optional({
    name: "DATABASE_URL",
    doc: "A PostgreSQL server, version 15 or later: `postgres://user:password@host:5432/name?sslmode=verify-full`. Without `sslmode`, Bunker uses `prefer`, which verifies nothing. Empty: the embedded database.",
    shown: "the embedded database",
    isSecret: true,
    parse: postgresUrl,
  }),
  databaseCaFile: optional({
    name: "DATABASE_CA_FILE",
    doc: "A PEM file with the certificate authority of the database server, for `sslmode=verify-ca` and `verify-full`.",
    shown: "the certificate authorities of the system",
    parse: readableFile,
  }),
  databaseDirectUrl: optional({
    name: "DATABASE_DIRECT_URL",
    doc: "The same database as DATABASE_URL, but without its pooler. Migrations and change notifications use it. See docs/guides/pgbouncer.md.",
    shown: "DATABASE_URL",
    isSecret: true,
    parse: postgresUrl,
  }),
  databasePrepare: onOff({
    name: "DATABASE_PREPARE",
    doc: "`off`: for a DATABASE_URL that points to a pooler in transaction mode, such as PgBouncer. Bunker then uses no prepared statements and no session settings. See docs/guides/pgbouncer.md.",
    fallback: "on",
  }),
  databasePoolSize: setting({
    name: "DATABASE_POOL_SIZE",
    doc: "The maximum number of database connections in the pool of one process.",
    parse: integer(1, 500),
    fallback: () => 10,
  }),
  databaseConnectTimeoutSeconds: setting({
    name: "DATABASE_CONNECT_TIMEOUT_SECONDS",
    doc: "How many seconds to wait for a new database connection.",
    parse: integer(1, 60),
    fallback: () => 3,
  }),
  databaseStatementTimeoutSeconds: setting({
    name: "DATABASE_STATEMENT_TIMEOUT_SECONDS",
    doc: "How many seconds one statement may take before the database cancels it.",
    parse: integer(1, 600),
    fallback: () => 5,
  }),
  secretKey: optional({
    name: "SECRET_KEY",
    doc: `Signs access tokens: at least ${SECRET_MIN_BYTES} random bytes (\`openssl rand -hex 32\`). Required in production with DATABASE_URL.`,
    shown: "generated once and kept in DATA_DIR/secret_key",
    isSecret: true,
    parse: secretKey,
  }),
  secretKeys: setting<string[]>({
    name: "SECRET_KEYS",
    doc: "Other secret keys whose tokens are accepted, such as the previous or the next one, separated by commas. See docs/guides/keys.md.",
    shown: "none",
    isSecret: true,
    parse: (value) => value.split(",").map((one) => secretKey(one.trim())),
    fallback: () => [],
  }),
  algorithm: setting<Algorithm>({
    name: "ALGORITHM",
    doc: "How access tokens are signed: `HS256` with SECRET_KEY; `EdDSA` or `ES256` with key pairs. Bunker creates the key pairs, rotates them with `bunker keys rotate`, and publishes the public keys so that other services can verify tokens.",
    parse: oneOf(algorithms),
    fallback: () => "HS256",
  }),
  accessTokenExpireMinutes: setting({
    name: "ACCESS_TOKEN_EXPIRE_MINUTES",
    doc: "How many minutes an access token is valid; at most a day.",
    parse: integer(1, 1440),
    fallback: () => 15,
  }),
  refreshGraceSeconds: setting({
    name: "REFRESH_GRACE_SECONDS",
    doc: "How many seconds a client may send a spent refresh token again and get the same successor. So a lost response, or two tabs that refresh at the same time, end no session. `0`: any reuse ends the session.",
    parse: integer(0, 300),
    fallback: () => 10,
  }),
  sessionIdleDays: setting({
    name: "SESSION_IDLE_DAYS",
    doc: "A session ends after this many days without a refresh.",
    parse: integer(1, 365),
    fallback: () => 30,
  }),
  sessionMaxDays: setting({
    name: "SESSION_MAX_DAYS",
    doc: "A session ends this many days after the sign-in, even if it is in use.",
    parse: integer(1, 3650),
    fallback: () => 90,
  }),
  sessionsPerAccount: setting({
    name: "SESSIONS_PER_ACCOUNT",
    doc: "How many sessions one user can have. A sign-in beyond that ends the sessions that were unused for longest. Concurrent sign-ins may briefly exceed the limit; the next sign-in trims it.",
    parse: integer(1, 10_000),
    fallback: () => 100,
  }),
  principalCacheSize: setting({
    name: "PRINCIPAL_CACHE_SIZE",
    doc: "How many principals (signed-in users and their sessions) one process caches, about 1 KiB each. Changes to a user still take effect within a second. `0`: each request reads from the database.",
    parse: integer(0, 10_000_000),
    fallback: () => 20_000,
  }),
  audience: setting({
    name: "AUDIENCE",
    doc: "The audience of access tokens (`aud`).",
    shown: "PUBLIC_URL",
    parse: text,
    fallback: ({ publicUrl }) => publicUrl,
  }),
  registration: setting({
    name: "REGISTRATION",
    doc: "`open`: everyone can register. `closed`: only `bunker users create` creates users, and earlier registrations cannot be verified.",
    parse: oneOf(["open", "closed"]),
    fallback: () => "open",
  }),
  oauthPasswordGrant: onOff({
    name: "OAUTH_PASSWORD_GRANT",
    doc: "`on`: /oauth/token also accepts the password grant, which RFC 9700 (section 2.4) forbids. First-party clients use POST /api/v1/auth/login instead.",
    fallback: "off",
  }),
  passwordHash: setting<HashCost>({
    name: "PASSWORD_HASH",
    doc: "The cost of one Argon2id hash: KiB of memory and passes, such as `m=19456,t=2`. `bunker password calibrate` suggests a value. Weaker hashes are upgraded at sign-in.",
    shown: "m=19456,t=2",
    parse: hashCost,
    fallback: () => usualCost,
    format: ({ kibibytes, passes }) => `m=${kibibytes},t=${passes}`,
  }),
  passwordMinLength: setting({
    name: "PASSWORD_MIN_LENGTH",
    doc: "The minimum length of a password, in characters. OWASP ASVS 5.0 (6.2.1) allows 8. NIST SP 800-63B-4 requires 15 if the password is the only factor.",
    parse: integer(8, 64),
    fallback: () => 8,
  }),
  firstSuperuserEmail: optional({
    name: "FIRST_SUPERUSER_EMAIL",
    doc: "Together with FIRST_SUPERUSER_PASSWORD: creates this superuser at startup if no superuser exists.",
    parse: text,
  }),
  firstSuperuserPassword: optional({
    name: "FIRST_SUPERUSER_PASSWORD",
    doc: "See FIRST_SUPERUSER_EMAIL. The password rules apply here too.",
    isSecret: true,
    mayHaveBlanks: true,
    parse: text,
  }),
  ...mailSettings,
  trustedProxies: setting<string[]>({
    name: "TRUSTED_PROXIES",
    doc: "The proxies whose header with the client IP is trusted: IPs and networks, such as `10.0.0.0/8, 2001:db8::/32`.",
    shown: "none",
    parse: networks,
    fallback: () => [],
  }),
  clientAddressHeader: setting({
    name: "CLIENT_ADDRESS_HEADER",
    doc: "The header in which the trusted proxies send the client IP. In `X-Forwarded-For`, the last IP that is not trusted counts. Use `Fly-Client-IP` on Fly.io, and `CF-Connecting-IP` behind Cloudflare and on Render. Set only a header that the proxy always overwrites.",
    shown: "X-Forwarded-For",
    parse: headerName,
    fallback: () => "x-forwarded-for",
  }),
  limits: setting<Policies>({
    name: "LIMITS",
    doc: "Replaces limits of docs/limits.md: `register=50/3600, login=10+5/60` (50 an hour; 10 at once, then 5 a minute).",
    shown: "the limits in docs/limits.md",
    parse: readPolicies,
    fallback: () => policies,
    format: formatPolicies,
  }),
  rateLimit: onOff({
    name: "RATE_LIMIT",
    doc: "`off` disables all rate limits. For tests and benchmarks only.",
    fallback: "on",
  }),
  ...operationSettings,
};

export const settings = joinSettings(bunkerSettings, productSettings);
