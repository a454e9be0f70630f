import { readFileSync } from "node:fs";
import { isCompiled } from "./kit/build.ts";
import { Exit } from "./kit/exit.ts";
import { type LogLevel, logLevels } from "./kit/log.ts";
import { nearest } from "./kit/nearest.ts";
import { readPassword } from "./kit/password.ts";
import { SECRET_MIN_BYTES } from "./kit/secret.ts";
import {
  type Base,
  httpUrl,
  integer,
  oneOf,
  postgresUrl,
  readableFile,
  type Setting,
  secretKey,
  setting,
  text,
} from "./kit/setting.ts";

const environments = ["development", "production"] as const;

/** Every setting of Bunker; those that others depend on come first. `.env.example` and docs/configuration.md are printed from this list. */
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
    doc: "The URL under which people reach this service; the issuer of its tokens. Required in production with DATABASE_URL.",
    shown: "http://localhost:<PORT>",
    parse: httpUrl,
    fallback: ({ port }) => `http://localhost:${port}`,
  }),
  dataDir: setting({
    name: "DATA_DIR",
    doc: "Where the embedded database lives, and the secret key that Bunker makes for itself.",
    parse: text,
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
  algorithm: setting({
    name: "ALGORITHM",
    doc: "How access tokens are signed: `HS256`, the only one so far.",
    parse: oneOf(["HS256"]),
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
    doc: "For how long a refresh token that was just spent is answered again, with the same successor: a lost answer or a second tab signs nobody out.",
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
  principalCacheSize: setting({
    name: "PRINCIPAL_CACHE_SIZE",
    doc: "How many signed-in people one process remembers, about 1 KiB each. What happens to an account is felt within a second all the same. `0`: each request reads from the database.",
    parse: integer(0, 10_000_000),
    fallback: () => 20_000,
  }),
  audience: setting<string | undefined>({
    name: "AUDIENCE",
    doc: "The audience of the access tokens (`aud`).",
    shown: "PUBLIC_URL",
    parse: text,
    fallback: () => undefined,
  }),
  registration: setting({
    name: "REGISTRATION",
    doc: "`open`: whoever comes may register. `closed`: only `bunker users create` makes accounts.",
    parse: oneOf(["open", "closed"]),
    fallback: () => "open",
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
    parse: text,
    fallback: () => undefined,
  }),
  rateLimit: setting({
    name: "RATE_LIMIT",
    doc: "`off` will switch the limits on requests off, for tests and benches only. There are none yet.",
    parse: oneOf(["on", "off"]),
    fallback: () => "on",
  }),
  logLevel: setting<LogLevel>({
    name: "LOG_LEVEL",
    doc: `The least important lines to log: \`${logLevels.join("`, `")}\`.`,
    parse: oneOf(logLevels),
    fallback: () => "info",
  }),
};

type Settings = typeof settings;
export type Config = { readonly [K in keyof Settings]: ReturnType<Settings[K]["fallback"]> };
/** Where a value came from: a variable's name, or "default". */
export type Origins = { readonly [K in keyof Settings]: string };
type Environment = Record<string, string | undefined>;

/**
 * Reads every setting. All that is wrong is said in one message, which names variables and never a value (exit code 78).
 * An empty variable counts as unset. A secret may stand in a file that `<NAME>_FILE` names.
 */
export function readConfig(env: Environment): {
  config: Config;
  origins: Origins;
  warnings: string[];
} {
  const found: Record<string, unknown> = {};
  const origins: Record<string, string> = {};
  const wrong: string[] = [];
  const base = (): Base => ({
    isProduction: (found["environment"] ?? settings.environment.fallback(never)) === "production",
    port: (found["port"] as number | undefined) ?? 3000,
  });
  for (const [key, it] of Object.entries(settings) as [string, Setting<unknown>][]) {
    try {
      const { value, origin } = textOf(it, env);
      origins[key] = origin;
      found[key] = value === undefined ? it.fallback(base()) : it.parse(value);
    } catch (error) {
      wrong.push(`${it.name} ${(error as Error).message}`);
    }
  }
  const config = Object.freeze(found) as Config;
  wrong.push(...contradictions(config, origins as Partial<Origins>));
  if (wrong.length > 0)
    throw new Exit(
      "badConfiguration",
      `The configuration is not usable:\n${[...wrong, ...misspelt(env)].map((line) => `  - ${line}\n`).join("")}`,
    );
  return { config, origins: origins as Origins, warnings: misspelt(env) };
}

/** The defaults that others depend on have none of their own. */
const never: Base = { isProduction: false, port: 0 };

function textOf(
  it: Setting<unknown>,
  env: Environment,
): { value: string | undefined; origin: string } {
  const direct = env[it.name] || undefined;
  const file = it.isSecret ? env[`${it.name}_FILE`] || undefined : undefined;
  if (direct !== undefined && file !== undefined)
    throw new Error(`is set twice: remove it or ${it.name}_FILE`);
  if (file === undefined)
    return { value: direct, origin: direct === undefined ? "default" : it.name };
  try {
    const value = readFileSync(file, "utf8").trim();
    if (value !== "") return { value, origin: `${it.name}_FILE` };
  } catch (error) {
    throw new Error(
      `cannot be read from ${it.name}_FILE (${(error as NodeJS.ErrnoException).code})`,
    );
  }
  throw new Error(`cannot be read from ${it.name}_FILE: the file is empty`);
}

/** What no setting can see alone. Speaks only of settings that were read without fault. */
function contradictions(config: Partial<Config>, origins: Partial<Origins>): string[] {
  const wrong: string[] = [];
  const isUnset = (key: keyof Config) => origins[key] === "default";
  const isServer = config.environment === "production" && config.databaseUrl !== undefined;
  if (isServer && isUnset("secretKey"))
    wrong.push(
      "SECRET_KEY is required in production with DATABASE_URL; make one: openssl rand -hex 32",
    );
  if (isServer && isUnset("publicUrl"))
    wrong.push(
      "PUBLIC_URL is required in production with DATABASE_URL, such as https://accounts.example.com",
    );
  const { searchParams } = new URL(config.databaseUrl ?? "postgres://none");
  if (config.databaseCaFile && !searchParams.get("sslmode")?.startsWith("verify-"))
    wrong.push(
      "DATABASE_CA_FILE checks nothing without sslmode=verify-full (or verify-ca) in DATABASE_URL",
    );
  if (isUnset("firstSuperuserEmail") && config.firstSuperuserPassword)
    wrong.push("FIRST_SUPERUSER_EMAIL is missing beside FIRST_SUPERUSER_PASSWORD");
  if (isUnset("firstSuperuserPassword") && config.firstSuperuserEmail)
    wrong.push("FIRST_SUPERUSER_PASSWORD is missing beside FIRST_SUPERUSER_EMAIL");
  const weakness = weaknessOfPassword(config);
  if (weakness) wrong.push(`FIRST_SUPERUSER_PASSWORD ${weakness}`);
  return wrong;
}

function weaknessOfPassword(config: Partial<Config>): string | undefined {
  const {
    firstSuperuserPassword: password,
    firstSuperuserEmail: email,
    passwordMinLength,
  } = config;
  if (!password || !email) return undefined;
  const read = readPassword("", password, { minLength: passwordMinLength ?? 8, names: [email] });
  return typeof read === "string" ? undefined : read.detail;
}

/** Variables that look like a misspelt setting of ours. */
function misspelt(env: Environment): string[] {
  const known = (Object.values(settings) as Setting<unknown>[]).flatMap(({ name, isSecret }) =>
    isSecret ? [name, `${name}_FILE`] : [name],
  );
  return Object.keys(env)
    .filter((name) => !known.includes(name))
    .flatMap((name) => {
      const meant = nearest(name, known);
      if (meant) return [`${name} is not a setting: did you mean ${meant}?`];
      return name.startsWith("BUNKER_") ? [`${name} is not a setting`] : [];
    });
}
