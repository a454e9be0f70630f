import { readFileSync } from "node:fs";
import { createDatabase } from "./database.ts";
import type { FloodLoad, FloodResult } from "./flood.ts";
import { type Binaries, quietSettings, startServer } from "./servers.ts";
import type { Row } from "./table.ts";
import { other, registerUsers, signIn, signInBody, user } from "./users.ts";
import type { Workspace } from "./workspace.ts";

const CONNECTIONS = 1_000;
const SECONDS = 12;
const RSS_MAX_MB = 256;

/** The response times of a signed-in user while a thousand connections sign in. */
export async function measureFloods(workspace: Workspace, binaries: Binaries): Promise<Row[]> {
  const server = await startServer(workspace, binaries.bunker, {
    ...quietSettings,
    DATABASE_URL: await createDatabase(workspace),
    DATA_DIR: workspace.dir,
  });
  await registerUsers(server);
  const bearer = { authorization: `Bearer ${await signIn(server, user)}` };
  const run = (load: Omit<FloodLoad, "port">) =>
    workspace.runScript<FloodResult>("flood.ts", { ...load, port: server.port });
  const signingIn = {
    method: "POST" as const,
    path: "/api/v1/auth/login",
    body: signInBody(other),
    pauseMs: 0,
    headers: { "content-type": "application/json" },
    connections: CONNECTIONS,
    requests: 0,
  } as const;
  const reading = {
    method: "GET" as const,
    path: "/api/v1/users/me",
    body: "",
    headers: bearer,
    requests: 0,
    connections: 4,
    pauseMs: 20,
    seconds: SECONDS - 4,
    obeysRetryAfter: false,
  } as const;

  const rows: Row[] = [];
  for (const [obeysRetryAfter, maxMillis] of [
    [true, 50],
    [false, 250],
  ] as const) {
    const flooding = run({ ...signingIn, obeysRetryAfter, seconds: SECONDS });
    await Bun.sleep(2_000);
    const [{ millis, responses }, flood] = [await run(reading), await flooding];
    const p99 = millis[Math.floor(millis.length * 0.99)] ?? Number.POSITIVE_INFINITY;
    const failed = Object.entries(responses).filter(([status]) => status !== "200");
    rows.push({
      what: `GET /users/me while ${CONNECTIONS} connections sign in and ${obeysRetryAfter ? "obey" : "ignore"} Retry-After: p99, failed`,
      measured: `${p99.toFixed(0)} ms, ${failed.length} failed of ${millis.length} (sign-ins: ${printResponses(flood)})`,
      must: `≤ ${maxMillis} ms, 0`,
      isMet: p99 <= maxMillis && failed.length === 0,
    });
  }
  const peakMb = peakRssMb(server.pid);
  return [
    ...rows,
    {
      what: "the same: peak memory (RSS)",
      measured: `${peakMb.toFixed(0)} MB`,
      must: `≤ ${RSS_MAX_MB} MB`,
      isMet: peakMb <= RSS_MAX_MB,
    },
  ];
}

const printResponses = ({ responses }: FloodResult) =>
  Object.entries(responses)
    .map(([status, times]) => `${times} × ${status}`)
    .join(", ");

const peakRssMb = (pid: number): number =>
  (Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024) / 1e6;
