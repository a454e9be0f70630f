import { passwordRules, readPassword } from "../credentials/password.ts";
import { misconfigured } from "../kit/exit.ts";
import { nearest } from "../kit/nearest.ts";
import { renamedLimits } from "../limits/policies.ts";
import { readPostgresUrl, type Tls } from "./postgres-url.ts";
import { type Base, readableFile, type Setting, variablesOf } from "./setting.ts";
import { settings } from "./settings.ts";
import { passwordOf, readText, withoutBlanks } from "./text-file.ts";

type Settings = typeof settings;
export type Config = { readonly [K in keyof Settings]: ReturnType<Settings[K]["fallback"]> };
/** The origin of each value: the name of a variable, or "default". */
export type Origins = { readonly [K in keyof Settings]: string };
type Environment = Record<string, string | undefined>;

/**
 * Reads all settings. Throws an Exit (78) that lists every fault by the name of its variable,
 * without values. An empty variable counts as unset. `isServing` also checks what only a server
 * needs.
 */
export function readConfig(
  env: Environment,
  { isServing = false } = {},
): { config: Config; origins: Origins; warnings: string[] } {
  const values: Record<string, unknown> = {};
  const origins: Record<string, string> = {};
  const faults: string[] = [];
  const base = (): Base => ({
    isProduction: (values["environment"] ?? settings.environment.fallback(unread)) === "production",
    port: (values["port"] as number | undefined) ?? 3000,
    publicUrl: (values["publicUrl"] as string | undefined) ?? unread.publicUrl,
    brandName: (values["brandName"] as string | undefined) ?? unread.brandName,
  });
  for (const [key, setting] of Object.entries(settings) as [string, Setting<unknown>][]) {
    try {
      const { value, origin } = textOf(setting, env);
      origins[key] = origin;
      values[key] = value === undefined ? setting.fallback(base()) : setting.parse(value);
    } catch (error) {
      faults.push(`${setting.name} ${(error as Error).message}`);
    }
  }
  const config = Object.freeze(values) as Config;
  faults.push(...contradictions(config, origins as Partial<Origins>));
  if (isServing) faults.push(...faultsOfServing(config, origins as Partial<Origins>));
  if (faults.length > 0)
    throw misconfigured(
      `The configuration is not valid:\n${[...faults, ...misspelled(env)].map((line) => `  - ${line}\n`).join("")}`,
    );
  const warnings = [
    ...warningsOf(config, env),
    ...(isServing ? warningsOfServing(config, origins as Origins) : []),
  ];
  return { config, origins: origins as Origins, warnings };
}

/** Stands in for settings that have not been read yet, or have a fault. */
const unread: Base = {
  isProduction: false,
  port: 0,
  publicUrl: "http://localhost",
  brandName: "",
};

/** The value of a setting as text, and its origin. */
function textOf(setting: Setting<unknown>, env: Environment) {
  const given = env[setting.name] ?? "";
  const direct = setting.mayHaveBlanks ? withoutBlanks(given) : given.trim();
  const [, variable = ""] = variablesOf(setting);
  const file = env[variable]?.trim() ?? "";
  if (direct !== "" && file !== "") throw new Error(`is set twice: remove it or ${variable}`);
  if (file === "")
    return direct === ""
      ? { value: undefined, origin: "default" }
      : { value: direct, origin: setting.name };
  try {
    return { value: textIn(file, setting), origin: variable };
  } catch (error) {
    throw new Error(`cannot be read: the file in ${variable} ${(error as Error).message}`);
  }
}

function textIn(file: string, { mayHaveBlanks }: Setting<unknown>): string {
  const text = readText(file);
  const value = mayHaveBlanks ? passwordOf(text) : text.trim();
  if (value === "") throw new Error("is empty");
  return value;
}

/** Faults of combined settings. `config` lacks settings that have a fault of their own. */
function contradictions(config: Partial<Config>, origins: Partial<Origins>): string[] {
  const faults: string[] = [];
  const isUnset = (key: keyof Config) => origins[key] === "default";
  const isServer = config.environment === "production" && config.databaseUrl !== undefined;
  if (isServer && isUnset("secretKey"))
    faults.push(
      "SECRET_KEY is required in production with DATABASE_URL; generate one: openssl rand -hex 32",
    );
  if (config.mailUrl?.startsWith("mailbox:") && config.environment === "production")
    faults.push(
      "MAIL_URL=mailbox: is allowed only with BUNKER_ENV=development, because every user of this machine can read the mails",
    );
  return [
    ...faults,
    ...missingPartners(isUnset),
    ...faultsOfNetwork(config),
    ...faultsOfDatabase(config),
    ...faultsOfSuperuser(config),
  ];
}

/** Each first setting has an effect only together with the second one. */
const partners: [keyof Config, keyof Config][] = [
  ["metricsHost", "metricsPort"],
  ["clientAddressHeader", "trustedProxies"],
  ["otlpHeaders", "otlpUrl"],
  ["databaseDirectUrl", "databaseUrl"],
  ["firstSuperuserPassword", "firstSuperuserEmail"],
  ["firstSuperuserEmail", "firstSuperuserPassword"],
];

const missingPartners = (isUnset: (key: keyof Config) => boolean): string[] =>
  partners
    .filter(([key, partner]) => !isUnset(key) && isUnset(partner))
    .map(([key, partner]) => `${settings[key].name} requires ${settings[partner].name}`);

/** Faults that matter only to a server in production, because a command sends no links. */
function faultsOfServing(config: Partial<Config>, origins: Partial<Origins>): string[] {
  if (config.environment !== "production") return [];
  const faults: string[] = [];
  const needing = config.databaseUrl ? "DATABASE_URL" : config.mailUrl && "MAIL_URL";
  if (needing && origins.publicUrl === "default")
    faults.push(
      `PUBLIC_URL is required in production with ${needing}, such as https://accounts.example.com`,
    );
  const { protocol, hostname } = new URL(config.publicUrl ?? "https://none");
  if (protocol === "http:" && !isLocal(hostname) && config.allowHttp === "off")
    faults.push(
      "PUBLIC_URL is http, which sends passwords and tokens in the clear: use https, or set PUBLIC_URL_ALLOW_HTTP=on",
    );
  if (config.emailSignIn === "on" && origins.signInUrl === "default")
    faults.push(
      "SIGN_IN_REDIRECT_URL is required in production with EMAIL_SIGN_IN=on: the page of your product that signs in with the mailed token",
    );
  const needMails = { REQUIRE_EMAIL_VERIFICATION: config.requireEmailVerification };
  for (const [name, value] of Object.entries({ ...needMails, EMAIL_SIGN_IN: config.emailSignIn }))
    if (value === "on" && config.mailUrl === undefined)
      faults.push(`MAIL_URL is required in production with ${name}=on, which depends on mail`);
  return faults;
}

const isLocal = (hostname: string) =>
  /^(localhost|.+\.localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname);

function warningsOfServing({ environment, publicUrl }: Config, origins: Origins): string[] {
  if (environment !== "production" || origins.publicUrl !== "default") return [];
  return [
    `PUBLIC_URL is not set: ${publicUrl} is the issuer of tokens and the start of links. Set it before you go live: a later change makes issued tokens invalid.`,
  ];
}

function faultsOfNetwork(config: Partial<Config>): string[] {
  const faults: string[] = [];
  if (config.metricsPort !== undefined && config.metricsPort === config.port)
    faults.push("METRICS_PORT must differ from PORT");
  if ((config.workers ?? 1) > 1 && process.platform !== "linux")
    faults.push("WORKERS must be 1 on this system: only Linux shares a port among processes");
  return faults;
}

function faultsOfDatabase(config: Partial<Config>): string[] {
  const faults: string[] = [];
  const urls = [config.databaseUrl, config.databaseDirectUrl].filter((url) => url !== undefined);
  const servers = urls.map(readPostgresUrl);
  if (config.databaseCaFile && !servers.some(({ tls }) => tls.mode.startsWith("verify-")))
    faults.push(
      "DATABASE_CA_FILE has no effect without sslmode=verify-full or verify-ca in DATABASE_URL",
    );
  const isPooler = config.databaseUrl !== undefined && servers[0]?.isPooler;
  const pooling = isPooler ? "pgbouncer=true in DATABASE_URL" : "DATABASE_PREPARE=off";
  if ((isPooler || config.databasePrepare === "off") && !config.databaseDirectUrl)
    faults.push(
      `${pooling} requires DATABASE_DIRECT_URL: migrations take a lock that a pooler would lose`,
    );
  return [...faults, ...servers.flatMap(({ tls }) => faultsOfTls(tls, config))];
}

function faultsOfTls(tls: Tls, { databaseCaFile }: Partial<Config>): string[] {
  const { rootCertificate, certificate, key } = tls;
  const faults: string[] = [];
  if (databaseCaFile && rootCertificate && rootCertificate !== databaseCaFile)
    faults.push(
      "DATABASE_CA_FILE and sslrootcert in DATABASE_URL are both set: remove one of them",
    );
  if ((certificate === undefined) !== (key === undefined))
    faults.push("DATABASE_URL has only one of sslcert and sslkey: set both");
  const files = { sslrootcert: rootCertificate, sslcert: certificate, sslkey: key };
  for (const [name, file] of Object.entries(files)) {
    if (file === undefined || file === "system") continue;
    try {
      readableFile(file);
    } catch (error) {
      faults.push(`DATABASE_URL has an ${name} that ${(error as Error).message}`);
    }
  }
  return faults;
}

/** Settings that probably do not have the intended effect. */
function warningsOf(config: Config, env: Environment): string[] {
  const urls = { DATABASE_URL: config.databaseUrl, DATABASE_DIRECT_URL: config.databaseDirectUrl };
  const ignored = Object.entries(urls).flatMap(([name, url]) => {
    const names = url === undefined ? [] : readPostgresUrl(url).ignored;
    return names.length > 0 ? [`${name}: Bunker ignores ${names.join(", ")}`] : [];
  });
  const renamed = Object.entries(renamedLimits)
    .filter(([earlier]) => env["LIMITS"]?.includes(`${earlier}=`))
    .map(([earlier, present]) => `LIMITS: ${earlier} was renamed to ${present}`);
  return [...misspelled(env), ...ignored, ...renamed];
}

function faultsOfSuperuser(config: Partial<Config>): string[] {
  const weakness = weaknessOfPassword(config);
  return weakness ? [`FIRST_SUPERUSER_PASSWORD ${weakness}`] : [];
}

/** Passwords from templates and guides, also with up to 4 digits at the end, such as a year. */
const EXAMPLE_PASSWORD =
  /^((please.?)?(change|replace).?(me|this|it)(.?(now|please))?|(super)?(admin|user|secret)(password)?)\W?\d{0,4}$/i;

function weaknessOfPassword(config: Partial<Config>): string | undefined {
  const { firstSuperuserPassword: password, firstSuperuserEmail: email } = config;
  const { passwordMinLength = 8, brandName = "", publicUrl = "http://localhost" } = config;
  if (!password || !email) return undefined;
  if (EXAMPLE_PASSWORD.test(password)) return "is a well-known example";
  const rules = passwordRules({ passwordMinLength, brandName, publicUrl }, [email]);
  const read = readPassword("", password, rules);
  return typeof read === "string" ? undefined : read.detail;
}

/** Variables that are probably misspelled settings, or have no effect. */
function misspelled(env: Environment): string[] {
  const known = (Object.values(settings) as Setting<unknown>[]).flatMap(variablesOf);
  return Object.keys(env)
    .filter((name) => !known.includes(name))
    .flatMap((name) => {
      const intended = nearest(name, known);
      if (intended) return [`${name} is not a setting: did you mean ${intended}?`];
      if (planned.includes(name)) return [`${name} has no effect in this version`];
      return name.startsWith("BUNKER_") ? [`${name} is not a setting`] : [];
    });
}

/** Settings of parts that do not exist yet. Without a warning, operators would rely on them. */
const planned = ["SECURITY_CONTACT"];
