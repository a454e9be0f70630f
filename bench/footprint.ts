import { statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createDatabase } from "./database.ts";
import { residentBytesOf, treeBytesOf } from "./process-table.ts";
import { type Binaries, quietSettings, startServer } from "./servers.ts";
import type { Row } from "./table.ts";
import { stop, type Workspace } from "./workspace.ts";

const IDLE_MS = 3_000;

/** The size of the binary, and the memory of an idle server. */
export async function measureFootprint(workspace: Workspace, binaries: Binaries): Promise<Row[]> {
  const idle = async (env: Record<string, string>, bytesOf: (pid: number) => number) => {
    const server = await startServer(workspace, binaries.bunker, { ...quietSettings, ...env });
    await sleep(IDLE_MS);
    const bytes = bytesOf(server.pid);
    await stop(server.program);
    return bytes;
  };
  const external = { DATABASE_URL: await createDatabase(workspace), DATA_DIR: workspace.dir };
  const embedded = { DATA_DIR: join(workspace.dir, "idle") };
  return [
    row("size of the binary", statSync(binaries.bunker).size, 150),
    row("idle memory with a PostgreSQL server (RSS)", await idle(external, residentBytesOf), 70),
    row(
      "idle memory with the embedded PostgreSQL (PSS of all processes)",
      await idle(embedded, treeBytesOf),
      130,
    ),
  ];
}

/** In MB of 1,000,000 bytes. */
const row = (what: string, bytes: number, maxMegabytes: number): Row => ({
  what,
  measured: `${(bytes / 1e6).toFixed(0)} MB`,
  must: `≤ ${maxMegabytes} MB`,
  isMet: bytes / 1e6 <= maxMegabytes,
});
