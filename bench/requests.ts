import { availableParallelism } from "node:os";
import { join } from "node:path";
import { createDatabase } from "./database.ts";
import type { Load } from "./load.ts";
import { registerPeople, signIn, signInBody, superuser, user } from "./people.ts";
import { cpuMicrosOf } from "./process-table.ts";
import { type Binaries, quietSettings, type Server, startServer } from "./servers.ts";
import { type Stage, stop } from "./stage.ts";
import { type Line, median, printRatios } from "./table.ts";

/** How much to measure: `requests` is a share of the full number. */
export interface Effort {
  rounds: number;
  share: number;
}

type Request = Omit<Load, "port" | "requests" | "connections"> & { requests: number };

const CONNECTIONS = 32;
const PAGE = "/api/v1/users?limit=100";

/** What one request costs Bunker, beside the limit: the CPU of the server process, in turns. */
export async function measureRequests(
  stage: Stage,
  binaries: Binaries,
  effort: Effort,
): Promise<Line[]> {
  const secret = { SECRET_KEY: Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toHex() };
  const database = { DATABASE_URL: await createDatabase(stage) };
  const env = {
    ...quietSettings,
    ...secret,
    ...database,
    PUBLIC_URL: "https://accounts.example.com",
    DATA_DIR: stage.dir,
    FIRST_SUPERUSER_EMAIL: superuser.email,
    FIRST_SUPERUSER_PASSWORD: superuser.password,
  };
  const bunker = await startServer(stage, binaries.bunker, env);
  const forgetful = await startServer(stage, binaries.bunker, {
    ...env,
    PRINCIPAL_CACHE_SIZE: "0",
  });
  const pairs = await startServer(stage, binaries.bunker, { ...env, ALGORITHM: "EdDSA" });
  const logging = await startServer(stage, binaries.bunker, {
    ...env,
    LOG_ACCESS: "on",
    LOG_LEVEL: "info",
    METRICS_TOKEN: secret.SECRET_KEY,
  });
  await registerPeople(bunker);
  const bearer = async (who: typeof user) => ({
    authorization: `Bearer ${await signIn(bunker, who)}`,
  });
  const health = get("/livez", { requests: 40_000 });
  const me = get("/api/v1/users/me", { requests: 10_000, headers: await bearer(user) });
  const signed = { ...me, headers: { authorization: `Bearer ${await signIn(pairs, user)}` } };
  const page = get(PAGE, { requests: 1_200, headers: await bearer(superuser) });
  const cost = costIn(stage, effort);
  /** Each against a limit that has just started: what came before is no part of it. */
  const duel = async (
    { server = bunker, ours, theirs = ours }: Duel,
    driver: "published" | "mended" = "published",
  ) => {
    const settings = { ...secret, ...database, DRIVER: driver };
    const limit = await startServer(stage, binaries.limit, settings);
    const sides = [() => cost(server, ours), () => cost(limit, theirs)] as const;
    const comparison = await compare([...sides], effort.rounds);
    await stop(limit.program);
    return comparison;
  };
  const eddsa = { server: pairs, ours: signed, theirs: me };
  const unremembered = { server: forgetful, ours: me };
  const kept = { ours: page, theirs: { ...page, path: "/kept-users" } };

  const lines = [
    lineOf("GET /livez: CPU, beside the limit", await duel({ ours: health })),
    lineOf("GET /users/me, seen before: CPU, beside the limit", await duel({ ours: me }), 0.6),
    lineOf("… beside the limit with our driver", await duel({ ours: me }, "mended")),
    lineOf("… with access log and metrics on", await duel({ server: logging, ours: me }), 0.8),
    lineOf("… under EdDSA", await duel(eddsa), 0.6),
    lineOf("… not remembered", await duel(unremembered), 1.4),
    lineOf("… not remembered, with our driver", await duel(unremembered, "mended")),
    lineOf("GET /users?limit=100: CPU, beside reading and sending", await duel({ ours: page }), 2),
    lineOf("… beside sending what is in memory", await duel(kept)),
    ...(await measureSignIn(stage, bunker, effort)),
  ];
  await Promise.all([bunker, forgetful, logging, pairs].map(({ program }) => stop(program)));
  return lines;
}

interface Duel {
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
  (stage: Stage, { share }: Effort) =>
  async (server: Server, request: Request): Promise<number> => {
    const requests = Math.ceil(request.requests * share);
    const load = { ...request, port: server.port, requests, connections: CONNECTIONS };
    const before = cpuMicrosOf(server.pid);
    await run(stage, "load.ts", load);
    return (cpuMicrosOf(server.pid) - before) / requests;
  };

/** Runs a program of this folder in a process of its own, and reads what it prints. */
async function run(
  stage: Stage,
  file: "load.ts" | "hashing.ts",
  options: object,
): Promise<Record<string, number>> {
  const path = join(import.meta.dir, file);
  return JSON.parse(await stage.run([process.execPath, path, JSON.stringify(options)]));
}

interface Comparison {
  ratios: number[];
  ours: number;
  theirs: number;
}

/** In turns, because a machine has fast and slow moments: each round's ratio is of neighbours. The first is for warmth. */
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

export function lineOf(what: string, { ratios, ours, theirs }: Comparison, most?: number): Line {
  return {
    what,
    measured: `${printRatios(ratios)}: ${ours.toFixed(1)} µs to ${theirs.toFixed(1)} µs`,
    must: most === undefined ? "" : `≤ ${most} ×`,
    isKept: most === undefined ? undefined : median(ratios) <= most,
  };
}

const SIGN_INS = 60;
const SIGN_IN_RATE_LEAST = 0.9;
/** As many as the gate of Bunker lets hash at once. */
const AT_ONCE = Math.max(1, availableParallelism() - 1);

/** Sign-ins a second, with always somebody waiting, beside as many threads that do nothing but verify. */
async function measureSignIn(
  stage: Stage,
  bunker: Server,
  { rounds, share }: Effort,
): Promise<Line[]> {
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
    const { seconds = 0 } = await run(stage, "load.ts", load);
    cpu.push([(cpuMicrosOf(bunker.pid) - before) / requests, 0]);
    return requests / seconds;
  };
  const theirs = async () => {
    const { seconds = 0, cpuMicros = 0 } = await run(stage, "hashing.ts", {
      count: requests,
      concurrency: AT_ONCE,
    });
    const last = cpu.at(-1);
    if (last) last[1] = cpuMicros;
    return requests / seconds;
  };
  const rates = await compare([ours, theirs], rounds);
  const counted = cpu.slice(1);
  return [
    {
      what: "POST /api/v1/auth/login: sign-ins a second, beside Bun.password.verify alone",
      measured: `${printRatios(rates.ratios)}: ${rates.ours.toFixed(1)} to ${rates.theirs.toFixed(1)}`,
      must: `≥ ${SIGN_IN_RATE_LEAST} ×`,
      isKept: median(rates.ratios) >= SIGN_IN_RATE_LEAST,
    },
    lineOf("the same: CPU", {
      ratios: counted.map(([our, their]) => our / their),
      ours: median(counted.map(([our]) => our)),
      theirs: median(counted.map(([, their]) => their)),
    }),
  ];
}
