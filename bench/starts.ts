import { rmSync } from "node:fs";
import { join } from "node:path";
import { createDatabase } from "./database.ts";
import { type Binaries, quietSettings, startServer } from "./servers.ts";
import { type Stage, stop } from "./stage.ts";
import { type Line, median } from "./table.ts";

/** From the start of the process to its first answer, one start after the other, each kind in its turn. */
export async function measureStarts(
  stage: Stage,
  binaries: Binaries,
  runs: number,
): Promise<Line[]> {
  const dataDir = join(stage.dir, "data");
  const embedded = { ...quietSettings, DATA_DIR: dataDir };
  const external = {
    ...quietSettings,
    DATABASE_URL: await createDatabase(stage),
    DATA_DIR: stage.dir,
  };
  const once = async (binary: string, env: Record<string, string>) => {
    const server = await startServer(stage, binary, env);
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
  const line = (what: string, millis: number[], mostMillis?: number): Line => ({
    what: `cold start, ${what}`,
    measured: `${median(millis).toFixed(0)} ms (${Math.min(...millis).toFixed(0)}–${Math.max(...millis).toFixed(0)}), ${(median(millis) / bare).toFixed(1)} × bare`,
    must: mostMillis === undefined ? "" : `≤ ${mostMillis} ms`,
    isKept: mostMillis === undefined ? undefined : median(millis) <= mostMillis,
  });
  return [
    line("a bare Bun.serve", times.bare),
    line("database on a server, migrated", times.external, 60),
    line("embedded database, reopened", times.reopened, 250),
    line("embedded database, first ever", times.first, 2500),
  ];
}
