import { statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createDatabase } from "./database.ts";
import { residentBytesOf, treeBytesOf } from "./process-table.ts";
import { type Binaries, quietSettings, startServer } from "./servers.ts";
import { type Stage, stop } from "./stage.ts";
import type { Line } from "./table.ts";

const IDLE_MS = 3_000;

/** What Bunker takes on disk, and in memory when nobody asks anything of it. */
export async function measureFootprint(stage: Stage, binaries: Binaries): Promise<Line[]> {
  const idle = async (env: Record<string, string>, bytesOf: (pid: number) => number) => {
    const server = await startServer(stage, binaries.bunker, { ...quietSettings, ...env });
    await sleep(IDLE_MS);
    const bytes = bytesOf(server.pid);
    await stop(server.program);
    return bytes;
  };
  const external = { DATABASE_URL: await createDatabase(stage), DATA_DIR: stage.dir };
  const embedded = { DATA_DIR: join(stage.dir, "idle") };
  return [
    line("size of the binary", statSync(binaries.bunker).size, 150),
    line("idle memory, database on a server (RSS)", await idle(external, residentBytesOf), 70),
    line(
      "idle memory, with the embedded PostgreSQL (PSS of all processes)",
      await idle(embedded, treeBytesOf),
      130,
    ),
  ];
}

/** In MB of 1,000,000 bytes. */
const line = (what: string, bytes: number, mostMegabytes: number): Line => ({
  what,
  measured: `${(bytes / 1e6).toFixed(0)} MB`,
  must: `≤ ${mostMegabytes} MB`,
  isKept: bytes / 1e6 <= mostMegabytes,
});
