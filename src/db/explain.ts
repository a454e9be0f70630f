import { resolve } from "node:path";
import type { Config } from "../config/config.ts";
import { describePostgresUrl, readPostgresUrl, shownName } from "../config/postgres-url.ts";
import { settings } from "../config/settings.ts";
import { Exit, misconfigured } from "../kit/exit.ts";
import { causeOf, isOutage } from "./failures.ts";

/** Describes the database of a configuration for the operator. */
export const describePlace = ({ databaseUrl: url, dataDir }: Config): string =>
  url ? `PostgreSQL at ${describePostgresUrl(url)}` : `embedded PostgreSQL in ${resolve(dataDir)}`;

/** Runs `work` in the database. A failure becomes an Exit that says what to do. */
export async function explained<T>(
  config: Config,
  isDirect: boolean,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw explain(config, isDirect, error);
  }
}

/** `isDirect`: the connection that goes around the pooler. */
export function explain(config: Config, isDirect: boolean, error: unknown): Exit {
  if (error instanceof Exit) return error;
  if (config.databaseUrl) return explainServer(config, isDirect, error);
  const { code = "no code" } = causeOf(error);
  return new Exit(
    "unavailable",
    `The embedded database in ${config.dataDir} does not answer (${code}); see ${config.dataDir}/postgres.log.`,
  );
}

/** Says what to do about a failure of the database. Repeats no message of the server. */
function explainServer(config: Config, isDirect: boolean, error: unknown): Exit {
  const key = isDirect && config.databaseDirectUrl ? "databaseDirectUrl" : "databaseUrl";
  const setting = settings[key].name;
  const url = config[key] ?? "";
  const { code = "no code" } = causeOf(error);
  const place = `the database at ${describePostgresUrl(url)}`;
  const remedy = remedyOf(code, readPostgresUrl(url));
  if (remedy)
    return misconfigured(`Cannot use ${place} (${code}): ${remedy} The setting is ${setting}.`);
  const [known] = Object.entries(passing).filter(([prefix]) => code.startsWith(prefix));
  const hint = known?.[1] ?? (isOutage(error) ? "Is it running?" : "See the log of the server.");
  return new Exit(
    "unavailable",
    `${place[0]?.toUpperCase()}${place.slice(1)} does not answer (${code}). ${hint} Check ${setting}.`,
  );
}

/** Hints for failures that may end by themselves, by the beginning of the code. */
const passing: Record<string, string> = {
  ENOTFOUND: "Its host name does not resolve.",
  EAI_AGAIN: "Its host name cannot be resolved right now.",
  ENOENT: "Its socket does not exist: is it running there?",
  "53300": "It has no free connections: raise its max_connections, or lower DATABASE_POOL_SIZE.",
  "57P03": "It is starting up or shutting down.",
};

type Server = ReturnType<typeof readPostgresUrl>;

/** What the operator has to change, or undefined if waiting may help. */
function remedyOf(code: string, { user, database, tls }: Server): string | undefined {
  const quote = (name: string) => `"${shownName(name)}"`;
  const remedies: [RegExp, string][] = [
    [/^28P01$/, "The password is wrong, or the role does not exist."],
    [
      /^28/,
      `The server refuses the role ${quote(user)} from this machine. The role must exist and have LOGIN, and pg_hba.conf must have an entry for it. A hostssl entry needs sslmode=require; it is ${tls.mode} now.`,
    ],
    [/^3D000$/, `The database does not exist. Run: create database ${quote(database)};`],
    [
      /^42501$/,
      `The role ${quote(user)} lacks a privilege. Use the role that owns the database. To connect, a role needs: grant connect on database ${quote(database)} to ${quote(user)};`,
    ],
    [
      /^TLS_REFUSED$/,
      `The server offers no TLS, but sslmode=${tls.mode} needs it. Enable ssl on the server, or set sslmode=disable if you trust the network.`,
    ],
    [
      /^ERR_TLS_CERT_ALTNAME_INVALID$/,
      "The certificate of the server is for another name. Use that name as the host, or sslmode=verify-ca.",
    ],
    [/^CERT_(HAS_EXPIRED|NOT_YET_VALID)$/, "The certificate of the server is not valid today."],
    [
      /^(CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_)/,
      "The certificate of the server is from an unknown authority. Set DATABASE_CA_FILE to the certificate of the authority.",
    ],
    [
      /^08P01$/,
      "The server does not know a parameter of the session. A pooler such as PgBouncer needs DATABASE_PREPARE=off (docs/guides/pgbouncer.md).",
    ],
    [/^SASL_/, "The server could not prove that it knows the password: it may be another server."],
  ];
  return remedies.find(([pattern]) => pattern.test(code))?.[1];
}
