import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createDatabase } from "./database.ts";
import type { FloodLoad, FloodResult } from "./flood.ts";
import { other, registerPeople, signIn, signInBody, user } from "./people.ts";
import { type Binaries, quietSettings, startServer } from "./servers.ts";
import type { Stage } from "./stage.ts";
import type { Line } from "./table.ts";

const CONNECTIONS = 1_000;
const SECONDS = 12;
const RSS_MAX_MB = 256;

/** What somebody who is signed in notices of a thousand connections that sign in at once. */
export async function measureFloods(stage: Stage, binaries: Binaries): Promise<Line[]> {
  const server = await startServer(stage, binaries.bunker, {
    ...quietSettings,
    DATABASE_URL: await createDatabase(stage),
    DATA_DIR: stage.dir,
  });
  await registerPeople(server);
  const bearer = { authorization: `Bearer ${await signIn(server, user)}` };
  const run = async (load: Omit<FloodLoad, "port">): Promise<FloodResult> => {
    const spec = JSON.stringify({ ...load, port: server.port });
    return JSON.parse(await stage.run([process.execPath, join(import.meta.dir, "flood.ts"), spec]));
  };
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
    isHonest: false,
  } as const;

  const lines: Line[] = [];
  for (const [isHonest, mostMillis] of [
    [true, 50],
    [false, 250],
  ] as const) {
    const flooding = run({ ...signingIn, isHonest, seconds: SECONDS });
    await Bun.sleep(2_000);
    const [{ millis, answers }, flood] = [await run(reading), await flooding];
    const p99 = millis[Math.floor(millis.length * 0.99)] ?? Number.POSITIVE_INFINITY;
    const failed = Object.entries(answers).filter(([status]) => status !== "200");
    lines.push({
      what: `GET /users/me while ${CONNECTIONS} ${isHonest ? "honest" : "rude"} connections sign in: p99, failed`,
      measured: `${p99.toFixed(0)} ms, ${failed.length} failed of ${millis.length} (sign-ins: ${said(flood)})`,
      must: `≤ ${mostMillis} ms, 0`,
      isKept: p99 <= mostMillis && failed.length === 0,
    });
  }
  const peakMb = peakRssMb(server.pid);
  return [
    ...lines,
    {
      what: "the most memory in all that (RSS)",
      measured: `${peakMb.toFixed(0)} MB`,
      must: `≤ ${RSS_MAX_MB} MB`,
      isKept: peakMb <= RSS_MAX_MB,
    },
  ];
}

const said = ({ answers }: FloodResult) =>
  Object.entries(answers)
    .map(([status, times]) => `${times} × ${status}`)
    .join(", ");

const peakRssMb = (pid: number): number =>
  (Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024) / 1e6;
