import { isIPv6 } from "node:net";
import { userInfo } from "node:os";
import { nearest } from "../kit/nearest.ts";
import { authority } from "../kit/network.ts";

/** A PostgreSQL server, read from a URL as libpq does (PostgreSQL's documentation, 34.1.1.2). */
export interface PostgresServer {
  endpoint: { host: string; port: number } | { socketPath: string };
  user: string;
  password: string;
  database: string;
  tls: Tls;
  applicationName: string;
  /** Command-line options of the session, such as `-c work_mem=8MB`. */
  options: string | undefined;
  connectTimeoutSeconds: number | undefined;
  keepAliveSeconds: number | undefined;
  /** True if the URL names a pooler in transaction mode (`pgbouncer=true`, as for Prisma). */
  isPooler: boolean;
  /** Parameters that Bunker does not apply, as text for the operator. */
  ignored: string[];
}

export interface Tls {
  mode: SslMode;
  /** PEM files. `rootCertificate` may also be `system`. */
  rootCertificate: string | undefined;
  certificate: string | undefined;
  key: string | undefined;
  keyPassword: string | undefined;
  /** True for TLS from the first byte, without PostgreSQL's SSLRequest (PostgreSQL 17). */
  isDirect: boolean;
}

const sslModes = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] as const;
type SslMode = (typeof sslModes)[number];

const DEFAULT_PORT = "5432";
const CONNECT_TIMEOUT_MAX_SECONDS = 60;

const listOf = (names: string) => names.trim().split(/\s+/);

const applied = listOf(`
  application_name connect_timeout dbname fallback_application_name host hostaddr keepalives
  keepalives_idle options password pgbouncer port ssl sslcert sslkey sslmode sslnegotiation
  sslpassword sslrootcert target_session_attrs unix_sock unix_socket user
`);
/** Values that match what Bunker does anyway. Ignored without a warning. */
const harmless: Record<string, RegExp> = {
  channel_binding: /^(disable|prefer)$/,
  client_encoding: /^(auto|utf-?8)$/i,
  gssencmode: /^(disable|prefer)$/,
  load_balance_hosts: /^disable$/,
  replication: /^(false|off|no|0)$/,
  schema: /^public$/,
  currentSchema: /^public$/,
  sslcompression: /^0$/,
  sslsni: /^1$/,
};
/** Parameters of libpq and other drivers in URLs of providers. Ignored with a warning. */
const unapplied = listOf(`
  channel_binding client_encoding gssdelegation gssencmode gsslib keepalives_count
  keepalives_interval krbsrvname load_balance_hosts max_protocol_version min_protocol_version
  passfile replication require_auth requirepeer requiressl scram_client_key scram_server_key
  service ssl_max_protocol_version ssl_min_protocol_version sslcertmode sslcompression sslcrl
  sslcrldir sslkeylogfile sslsni tcp_user_timeout connection_limit currentSchema max_lifetime
  pool_timeout pool_max_conns pool_mode prepareThreshold schema socket_timeout sslaccept
  statement_cache_size statement_timeout supa uselibpqcompat
`);

/** Throws an Error that repeats no part of the URL: any part may be a piece of the password. */
export function readPostgresUrl(text: string): PostgresServer {
  const { place, parameters } = split(text);
  const of = (...names: string[]) => names.map((name) => parameters.get(name)).find(Boolean);
  refuseUnsupported(parameters);
  const user = of("user") ?? place.user ?? ownName();
  return {
    endpoint: endpointOf(place, of),
    user,
    password: of("password") ?? place.password ?? "",
    database: of("dbname") || place.database || user,
    tls: tlsOf(of),
    applicationName: of("application_name", "fallback_application_name") ?? "bunker",
    options: of("options"),
    connectTimeoutSeconds: secondsOf(of("connect_timeout"), CONNECT_TIMEOUT_MAX_SECONDS),
    keepAliveSeconds: of("keepalives") === "0" ? 0 : secondsOf(of("keepalives_idle")),
    isPooler: of("pgbouncer") === "true",
    ignored: ignoredOf(parameters),
  };
}

/** Returns `host:port/database` or `socket/database`, never a user or password. */
export function describePostgresUrl(text: string): string {
  const { endpoint, database } = readPostgresUrl(text);
  const shown = shownName(database);
  if ("socketPath" in endpoint) return `${endpoint.socketPath} (database ${shown})`;
  return `${authority(endpoint.host, endpoint.port)}/${shown}`;
}

/** The name of a role or database, or `…` if it may have a piece of a password by mistake. */
export const shownName = (name: string): string => (/^[\w.$-]+$/.test(name) ? name : "…");

interface Authority {
  user: string | undefined;
  password: string | undefined;
  host: string;
  port: string;
  database: string;
}

const EXAMPLE = "postgres://user:password@host:5432/name";
const NOT_ENCODED =
  "has a user or password whose special characters are not percent-encoded (@ is %40, / is %2F)";

/**
 * Splits as libpq does: the user ends at the first colon, the password at the first @. If the
 * password has an @, the rest of it becomes part of the host, which messages show. So a second @ is
 * refused.
 */
function split(text: string): { place: Authority; parameters: Map<string, string> } {
  const [, rest] = /^postgres(?:ql)?:\/\/(.*)$/s.exec(text) ?? [];
  if (rest === undefined) throw new Error(`must be a URL such as ${EXAMPLE}`);
  const [, user, password, behind = rest] = /^([^:@/]*)(?::([^@/]*))?@(.*)$/s.exec(rest) ?? [];
  const [, hosts = "", path = "", query = "", fragment] =
    /^([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?(#.*)?$/s.exec(behind) ?? [];
  if (behind.includes("@")) throw new Error(NOT_ENCODED);
  if (fragment !== undefined) throw new Error("has a # that is not percent-encoded (# is %23)");
  const [, bracketed, plain = "", port = ""] =
    /^(?:\[([^\]]*)\]|([^:[\]]*))(?::([^:]*))?$/.exec(hosts) ?? refuseHosts(hosts);
  const place = {
    user: user ? decoded(user) : undefined,
    password: password === undefined ? undefined : decoded(password),
    host: decoded(bracketed ?? plain),
    port: decoded(port),
    database: decoded(path),
  };
  return { place, parameters: parametersOf(query) };
}

function refuseHosts(hosts: string): never {
  if (hosts.includes(",")) throw new Error(SEVERAL_HOSTS);
  throw new Error(
    `has a host that is not valid; write it as in ${EXAMPLE}, with an IPv6 address in []`,
  );
}

const SEVERAL_HOSTS =
  "has several hosts, but Bunker connects to one: use one that leads to the primary, such as a virtual IP, a DNS name or a proxy";

function parametersOf(query: string): Map<string, string> {
  const pairs = query.split("&").filter((pair) => pair !== "");
  return new Map(
    pairs.map((pair) => {
      const at = pair.indexOf("=");
      if (at < 0) throw new Error("has a parameter without a value after the ?");
      return [decoded(pair.slice(0, at)), decoded(pair.slice(at + 1))];
    }),
  );
}

function decoded(text: string): string {
  let plain: string;
  try {
    plain = decodeURIComponent(text);
  } catch {
    throw new Error("has a % that does not begin a percent-encoded character (% is %25)");
  }
  if (/\p{Cc}/u.test(plain)) throw new Error("has a control character");
  return plain;
}

/** A DNS name or IPv4. The host of a URL that was encoded as a whole has other characters. */
const HOST_NAME = /^[\w.-]+$/;

type Lookup = (...names: string[]) => string | undefined;

function endpointOf(place: Authority, of: Lookup): PostgresServer["endpoint"] {
  const host = of("unix_sock", "unix_socket", "host", "hostaddr") ?? place.host;
  const port = (of("port") ?? place.port) || DEFAULT_PORT;
  if (host === "")
    throw new Error("has no host; for a socket, add its directory: ?host=/var/run/postgresql");
  if (`${host}${port}`.includes(",")) throw new Error(SEVERAL_HOSTS);
  if (!/^\d{1,5}$/.test(port) || Number(port) < 1 || Number(port) > 65_535)
    throw new Error("has a port that is not a number from 1 to 65535");
  if (!host.startsWith("/"))
    return HOST_NAME.test(host) || isIPv6(host) ? { host, port: Number(port) } : refuseHosts(host);
  const isSocket = /\/\.s\.PGSQL\.\d+$/.test(host);
  return { socketPath: isSocket ? host : `${host.replace(/\/+$/, "")}/.s.PGSQL.${port}` };
}

function tlsOf(of: Lookup): Tls {
  const rootCertificate = of("sslrootcert");
  const isSystem = rootCertificate === "system";
  const mode = of("sslmode") ?? (of("ssl") === "true" ? "require" : undefined);
  if (mode !== undefined && !isOneOf(sslModes, mode))
    throw new Error(`has an sslmode that is not one of ${sslModes.join(", ")}`);
  if (isSystem && mode !== undefined && mode !== "verify-full")
    throw new Error("has sslrootcert=system, which needs sslmode=verify-full");
  // Like libpq: `require` with a root certificate verifies the certificate.
  const implied = mode === "require" && rootCertificate !== undefined ? "verify-ca" : mode;
  return {
    mode: isSystem ? "verify-full" : (implied ?? "prefer"),
    rootCertificate,
    certificate: of("sslcert"),
    key: of("sslkey"),
    keyPassword: of("sslpassword"),
    isDirect: of("sslnegotiation") === "direct",
  };
}

const isOneOf = <T extends string>(allowed: readonly T[], value: string): value is T =>
  allowed.some((one) => one === value);

/** Refuses parameters that Bunker cannot apply if they change the target or the security. */
function refuseUnsupported(parameters: Map<string, string>): void {
  const role = parameters.get("target_session_attrs") ?? "any";
  if (!["any", "read-write", "primary", "prefer-standby"].includes(role))
    throw new Error("has a target_session_attrs that Bunker cannot use, because it must write");
  if (parameters.get("gssencmode") === "require")
    throw new Error(
      "has gssencmode=require, which Bunker does not support: use sslmode=verify-full",
    );
  const near = [...parameters.keys()]
    .filter((name) => ![...applied, ...unapplied].includes(name))
    .map((name) => nearest(name, [...applied, ...unapplied]));
  const [meant] = near.filter((name) => name !== undefined);
  if (meant) throw new Error(`has a parameter that looks like a misspelled ${meant}`);
  const isDirect = parameters.get("sslnegotiation") === "direct";
  const isChecked = ["require", "verify-ca", "verify-full"].includes(
    parameters.get("sslmode") ?? "",
  );
  if (isDirect && !isChecked && parameters.get("sslrootcert") !== "system")
    throw new Error("has sslnegotiation=direct, which needs sslmode=require or stricter");
}

/** Returns only names from the lists above: any other name may be a piece of the password. */
function ignoredOf(parameters: Map<string, string>): string[] {
  const rest = [...parameters].filter(([name]) => !applied.includes(name));
  const known = rest
    .filter(([name, value]) => unapplied.includes(name) && !harmless[name]?.test(value))
    .map(([name]) => name);
  const seconds = parameters.get("connect_timeout");
  const isIgnored =
    seconds !== undefined && secondsOf(seconds, CONNECT_TIMEOUT_MAX_SECONDS) === undefined;
  return [
    ...known,
    ...(isIgnored ? [`connect_timeout (it must be from 1 to ${CONNECT_TIMEOUT_MAX_SECONDS})`] : []),
    ...(parameters.has("hostaddr") && parameters.has("host") ? ["hostaddr"] : []),
    ...(rest.some(([name]) => !unapplied.includes(name))
      ? ["parameters that Bunker does not know"]
      : []),
  ];
}

function secondsOf(text: string | undefined, max = Number.POSITIVE_INFINITY): number | undefined {
  const seconds = Number(text ?? Number.NaN);
  return Number.isInteger(seconds) && seconds >= 1 && seconds <= max ? seconds : undefined;
}

function ownName(): string {
  try {
    return userInfo().username;
  } catch {
    throw new Error("has no user, and the account that runs Bunker has no name");
  }
}
