import { rmSync } from "node:fs";
import { join } from "node:path";
import { createDatabase } from "./database.ts";
import { type Binaries, quietSettings, startServer } from "./servers.ts";
import { median, type Row } from "./table.ts";
import { stop, type Workspace } from "./workspace.ts";

/** Times from the start of a process to its first response. The kinds take turns. */
export async function measureStarts(
  workspace: Workspace,
  binaries: Binaries,
  runs: number,
): Promise<Row[]> {
  const dataDir = join(workspace.dir, "data");
  const embedded = { ...quietSettings, DATA_DIR: dataDir };
  const external = {
    ...quietSettings,
    DATABASE_URL: await createDatabase(workspace),
    DATA_DIR: workspace.dir,
  };
  const once = async (binary: string, env: Record<string, string>) => {
    const server = await startServer(workspace, binary, env);
    await stop(server.program);
    return server.startMillis;
  };
  await once(binaries.bunker, external);
  await once(binaries.bare, {});

  const times = { bare: [], external: [], first: [], reopened: [] } as Record<
    "bare" | "external" | "first" | "reopened",
    number[]
  >;
  for (let run = 0; run < runs; run += 1) {
    times.bare.push(await once(binaries.bare, {}));
    times.external.push(await once(binaries.bunker, external));
    rmSync(dataDir, { recursive: true, force: true });
    times.first.push(await once(binaries.bunker, embedded));
    times.reopened.push(await once(binaries.bunker, embedded));
  }
  const bare = median(times.bare);
  const row = (what: string, millis: number[], maxMillis?: number): Row => ({
    what: `cold start, ${what}`,
    measured: `${median(millis).toFixed(0)} ms (${Math.min(...millis).toFixed(0)}–${Math.max(...millis).toFixed(0)}), ${(median(millis) / bare).toFixed(1)} × bare`,
    must: maxMillis === undefined ? "" : `≤ ${maxMillis} ms`,
    isMet: maxMillis === undefined ? undefined : median(millis) <= maxMillis,
  });
  return [
    row("a bare Bun.serve", times.bare),
    row("PostgreSQL server, migrated", times.external, 60),
    row("embedded database, reopened", times.reopened, 250),
    row("embedded database, first start", times.first, 2500),
  ];
}
