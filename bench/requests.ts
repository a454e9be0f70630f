import { availableParallelism } from "node:os";
import { createDatabase } from "./database.ts";
import type { Load } from "./load.ts";
import { cpuMicrosOf } from "./process-table.ts";
import { type Binaries, quietSettings, type Server, startServer } from "./servers.ts";
import { median, printRatios, type Row } from "./table.ts";
import { registerUsers, signIn, signInBody, superuser, superuserSettings, user } from "./users.ts";
import { stop, type Workspace } from "./workspace.ts";

/** How much to measure. `share` is the part of the full number of requests. */
export interface Effort {
  rounds: number;
  share: number;
}

type Request = Omit<Load, "port" | "requests" | "connections"> & { requests: number };

const CONNECTIONS = 32;
const PAGE = "/api/v1/users?limit=100";

/** The CPU time of the server process for each request, compared with the baseline. */
export async function measureRequests(
  workspace: Workspace,
  binaries: Binaries,
  effort: Effort,
): Promise<Row[]> {
  const secret = { SECRET_KEY: Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toHex() };
  const database = { DATABASE_URL: await createDatabase(workspace) };
  const env = {
    ...quietSettings,
    ...secret,
    ...database,
    PUBLIC_URL: "https://accounts.example.com",
    DATA_DIR: workspace.dir,
    ...superuserSettings,
  };
  const bunker = await startServer(workspace, binaries.bunker, env);
  const uncached = await startServer(workspace, binaries.bunker, {
    ...env,
    PRINCIPAL_CACHE_SIZE: "0",
  });
  const eddsa = await startServer(workspace, binaries.bunker, { ...env, ALGORITHM: "EdDSA" });
  const logging = await startServer(workspace, binaries.bunker, {
    ...env,
    LOG_ACCESS: "on",
    LOG_LEVEL: "info",
    METRICS_TOKEN: secret.SECRET_KEY,
  });
  await registerUsers(bunker);
  const bearer = async (who: typeof user) => ({
    authorization: `Bearer ${await signIn(bunker, who)}`,
  });
  const health = get("/livez", { requests: 40_000 });
  const me = get("/api/v1/users/me", { requests: 10_000, headers: await bearer(user) });
  const signedByEddsa = {
    ...me,
    headers: { authorization: `Bearer ${await signIn(eddsa, user)}` },
  };
  const page = get(PAGE, { requests: 1_200, headers: await bearer(superuser) });
  const cost = costIn(workspace, effort);
  /** Each comparison starts a new baseline, because its driver slows down with each query. */
  const compareWith = async (
    driver: "published" | "patched",
    { server = bunker, ours, theirs = ours }: Sides,
  ) => {
    const settings = { ...secret, ...database, DRIVER: driver };
    const baseline = await startServer(workspace, binaries.baseline, settings);
    const sides = [() => cost(server, ours), () => cost(baseline, theirs)] as const;
    const comparison = await compare([...sides], effort.rounds);
    await stop(baseline.program);
    return comparison;
  };
  const withEddsa = { server: eddsa, ours: signedByEddsa, theirs: me };
  const notCached = { server: uncached, ours: me };
  const fromMemory = { ours: page, theirs: { ...page, path: "/cached-users" } };

  const compared = (sides: Sides) => compareWith("published", sides);
  const besidePatched = (sides: Sides) => compareWith("patched", sides);
  const rows = [
    rowOf("GET /livez: CPU, compared with the baseline", await compared({ ours: health })),
    rowOf(
      "GET /users/me, cached: CPU, compared with the baseline",
      await compared({ ours: me }),
      0.6,
    ),
    rowOf("… compared with the baseline with our patch", await besidePatched({ ours: me })),
    rowOf("… with access log and metrics", await compared({ server: logging, ours: me }), 0.8),
    rowOf("… with EdDSA", await compared(withEddsa), 0.6),
    rowOf("… not cached", await compared(notCached), 1.4),
    rowOf("… not cached, compared with our patch", await besidePatched(notCached)),
    rowOf(
      "GET /users?limit=100: CPU, compared with reading rows",
      await compared({ ours: page }),
      2,
    ),
    rowOf("… compared with rows in memory", await compared(fromMemory)),
    ...(await measureSignIn(workspace, bunker, effort)),
  ];
  await Promise.all([bunker, uncached, logging, eddsa].map(({ program }) => stop(program)));
  return rows;
}

interface Sides {
  server?: Server;
  ours: Request;
  theirs?: Request;
}

export const get = (path: string, given: Partial<Request> & { requests: number }): Request => ({
  method: "GET",
  path,
  headers: {},
  body: "",
  ...given,
});

/** Microseconds of CPU per request. */
export const costIn =
  (workspace: Workspace, { share }: Effort) =>
  async (server: Server, request: Request): Promise<number> => {
    const requests = Math.ceil(request.requests * share);
    const load = { ...request, port: server.port, requests, connections: CONNECTIONS };
    const before = cpuMicrosOf(server.pid);
    await workspace.runScript("load.ts", load);
    return (cpuMicrosOf(server.pid) - before) / requests;
  };

interface Comparison {
  ratios: number[];
  ours: number;
  theirs: number;
}

/**
 * Compares two sides that take turns, because the speed of a machine varies. Ignores the first
 * round, which warms up.
 */
export async function compare(
  [ours, theirs]: [() => Promise<number>, () => Promise<number>],
  rounds: number,
): Promise<Comparison> {
  const pairs: [number, number][] = [];
  for (let round = 0; round <= rounds; round += 1) pairs.push([await ours(), await theirs()]);
  const counted = pairs.slice(1);
  return {
    ratios: counted.map(([our, their]) => our / their),
    ours: median(counted.map(([our]) => our)),
    theirs: median(counted.map(([, their]) => their)),
  };
}

export function rowOf(what: string, { ratios, ours, theirs }: Comparison, most?: number): Row {
  return {
    what,
    measured: `${printRatios(ratios)}: ${ours.toFixed(1)} µs to ${theirs.toFixed(1)} µs`,
    must: most === undefined ? "" : `≤ ${most} ×`,
    isMet: most === undefined ? undefined : median(ratios) <= most,
  };
}

const SIGN_INS = 60;
const SIGN_IN_RATE_MIN = 0.9;
/** As many hashes as Bunker runs at once. */
const AT_ONCE = Math.max(1, availableParallelism() - 1);

interface HashingResult {
  seconds: number;
  cpuMicros: number;
}

/**
 * Sign-ins a second with a queue that is never empty, compared with as many threads that only
 * verify passwords.
 */
async function measureSignIn(
  workspace: Workspace,
  bunker: Server,
  { rounds, share }: Effort,
): Promise<Row[]> {
  const requests = Math.ceil(SIGN_INS * share);
  const load: Load = {
    port: bunker.port,
    method: "POST",
    path: "/api/v1/auth/login",
    headers: { "content-type": "application/json" },
    body: signInBody(user),
    requests,
    connections: 4 * AT_ONCE,
  };
  const cpu: [number, number][] = [];
  const ours = async () => {
    const before = cpuMicrosOf(bunker.pid);
    const { seconds } = await workspace.runScript<{ seconds: number }>("load.ts", load);
    cpu.push([(cpuMicrosOf(bunker.pid) - before) / requests, 0]);
    return requests / seconds;
  };
  const theirs = async () => {
    const options = { count: requests, concurrency: AT_ONCE };
    const { seconds, cpuMicros } = await workspace.runScript<HashingResult>("hashing.ts", options);
    const last = cpu.at(-1);
    if (last) last[1] = cpuMicros;
    return requests / seconds;
  };
  const rates = await compare([ours, theirs], rounds);
  const counted = cpu.slice(1);
  return [
    {
      what: "POST /api/v1/auth/login: sign-ins a second, compared with Bun.password.verify alone",
      measured: `${printRatios(rates.ratios)}: ${rates.ours.toFixed(1)} to ${rates.theirs.toFixed(1)}`,
      must: `≥ ${SIGN_IN_RATE_MIN} ×`,
      isMet: median(rates.ratios) >= SIGN_IN_RATE_MIN,
    },
    rowOf("the same: CPU", {
      ratios: counted.map(([our, their]) => our / their),
      ours: median(counted.map(([our]) => our)),
      theirs: median(counted.map(([, their]) => their)),
    }),
  ];
}
