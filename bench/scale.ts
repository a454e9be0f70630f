/**
 * `bun bench/scale.ts [users]` prints as Markdown: the requests a second of 1, 2 and 4 processes
 * (WORKERS), the CPU time of Bunker and PostgreSQL for each, the disk space of one user, and the
 * same with that many more users (200,000).
 */

import { readdirSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { binary, runBenchmark } from "./benchmark.ts";
import { addUsers } from "./bulk-users.ts";
import { createDatabase } from "./database.ts";
import { cpuMicrosOf, treeOf } from "./process-table.ts";
import type { RefreshResult } from "./refresher.ts";
import { quietSettings, type Server, startServer } from "./servers.ts";
import { median } from "./table.ts";
import {
  openSession,
  registerUsers,
  signInBody,
  superuser,
  superuserSettings,
  user,
} from "./users.ts";
import { stop, type Workspace } from "./workspace.ts";

const ROUNDS = 5;
const SESSIONS = 64;
const USERS = 200_000;
const counts = { reads: 20_000, uncached: 10_000, refreshes: 6_000, signIns: 60, pages: 300 };
type What = keyof typeof counts;

interface Cost {
  perSecond: number;
  bunkerMicros: number;
  postgresMicros: number;
}

const sumOf = (pids: number[]) => pids.reduce((sum, pid) => sum + cpuMicrosOf(pid), 0);

/** The processes of PostgreSQL that serve one database. */
const backendsOf = (url: string): number[] =>
  readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(
          new URL(url).pathname.slice(1),
        );
      } catch {
        return false;
      }
    })
    .map(Number)
    .filter((pid) => readFileSync(`/proc/${pid}/comm`, "utf8").startsWith("postgres"));

async function measure(
  workspace: Workspace,
  url: string,
  workers: number,
): Promise<Record<What, Cost>> {
  const secret = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toHex();
  const env = {
    ...quietSettings,
    DATABASE_URL: url,
    DATA_DIR: workspace.dir,
    SECRET_KEY: secret,
    PUBLIC_URL: "https://accounts.example.com",
    WORKERS: String(workers),
    ...superuserSettings,
  };
  const server = await startServer(workspace, binary, env);
  const uncached = await startServer(workspace, binary, { ...env, PRINCIPAL_CACHE_SIZE: "0" });
  await registerUsers(server).catch(() => {});
  let tokens: string[] = [];
  while (tokens.length < SESSIONS) tokens.push((await openSession(server, user)).refresh_token);
  const bearer = async (who: typeof user) => ({
    authorization: `Bearer ${(await openSession(server, who)).access_token}`,
  });
  const read = { method: "GET", path: "/api/v1/users/me", headers: await bearer(user), body: "" };
  const page = { ...read, path: "/api/v1/users?limit=100", headers: await bearer(superuser) };
  const signIn = {
    method: "POST",
    path: "/api/v1/auth/login",
    body: signInBody(user),
    headers: { "content-type": "application/json" },
  };
  const send = (load: object, requests: number, connections: number) => (to: Server) =>
    workspace.runScript<RefreshResult>("load.ts", {
      ...load,
      port: to.port,
      requests,
      connections,
    });
  const refresh = async (to: Server) => {
    const load = { port: to.port, tokens, refreshes: counts.refreshes };
    const done = await workspace.runScript<RefreshResult>("refresher.ts", load);
    tokens = done.tokens;
    return done;
  };
  const cost = async (
    what: What,
    to: Server,
    work: (to: Server) => Promise<{ seconds: number }>,
  ) => {
    const costs: Cost[] = [];
    for (let round = 0; round <= ROUNDS; round++) {
      const pids = [treeOf(to.pid), backendsOf(url)] as const;
      const [bunker, postgres] = pids.map(sumOf) as [number, number];
      const { seconds } = await work(to);
      costs.push({
        perSecond: counts[what] / seconds,
        bunkerMicros: (sumOf(pids[0]) - bunker) / counts[what],
        postgresMicros: (sumOf(pids[1]) - postgres) / counts[what],
      });
    }
    const middle = (key: keyof Cost) => median(costs.slice(1).map((one) => one[key]));
    return {
      perSecond: middle("perSecond"),
      bunkerMicros: middle("bunkerMicros"),
      postgresMicros: middle("postgresMicros"),
    };
  };
  const found = {
    reads: await cost("reads", server, send(read, counts.reads, 64)),
    uncached: await cost("uncached", uncached, send(read, counts.uncached, 64)),
    refreshes: await cost("refreshes", server, refresh),
    signIns: await cost("signIns", server, send(signIn, counts.signIns, 8)),
    pages: await cost("pages", server, send(page, counts.pages, 8)),
  };
  await Promise.all([server, uncached].map(({ program }) => stop(program)));
  return found;
}

const names: Record<What, string> = {
  reads: "GET /users/me, cached",
  uncached: "the same, not cached",
  refreshes: "POST /auth/refresh",
  signIns: "POST /auth/login",
  pages: "GET /users?limit=100",
};

function print(title: string, found: Record<What, Cost>, reference: Record<What, Cost>): void {
  console.log(
    `\n${title}\n\n| | a second | compared with the first table | CPU of Bunker | CPU of PostgreSQL |\n|---|---|---|---|---|`,
  );
  for (const [what, name] of Object.entries(names) as [What, string][]) {
    const { perSecond, bunkerMicros, postgresMicros } = found[what];
    const ratio = perSecond / reference[what].perSecond;
    console.log(
      `| ${name} | ${perSecond.toFixed(0)} | ${ratio.toFixed(2)} × | ${bunkerMicros.toFixed(0)} µs | ${postgresMicros.toFixed(0)} µs |`,
    );
  }
}

const count = Number(Bun.argv[2] ?? USERS);
await runBenchmark(async (workspace) => {
  const url = await createDatabase(workspace);
  console.log(`${availableParallelism()} cores, also for the load and PostgreSQL.`);
  const one = await measure(workspace, url, 1);
  print("One process", one, one);
  for (const workers of [2, 4])
    print(`${workers} processes`, await measure(workspace, url, workers), one);
  const sizes = await addUsers(url, user.email, count);
  const bytes = Object.entries(sizes).map(([name, size]) => `${name} ${size.toFixed(0)}`);
  console.log(
    `\nBytes of one user, its session and two events, with indexes: ${bytes.join(", ")}.`,
  );
  print(`One process, ${count} more users`, await measure(workspace, url, 1), one);
});
