import { existsSync } from "node:fs";
import { join } from "node:path";
import { measureFloods } from "./floods.ts";
import { measureFootprint } from "./footprint.ts";
import { measureRefreshes } from "./refreshes.ts";
import { type Effort, measureRequests } from "./requests.ts";
import { measureSameness } from "./sameness.ts";
import { compileAll } from "./servers.ts";
import { openStage } from "./stage.ts";
import { measureStarts } from "./starts.ts";
import { printTable } from "./table.ts";
import { measureTraces } from "./traces.ts";
import { writeTable } from "./write-table.ts";

/**
 * `bun bench/run.ts [--quick] [--write]`: prints the table; `--write` puts it into docs/performance.md.
 * Exit codes: 0 measured, whatever the figures are; 1 failed; 2 there is no binary.
 */
const binary = join(import.meta.dir, "../dist/bunker");
const isQuick = Bun.argv.includes("--quick");
const effort: Effort = isQuick ? { rounds: 5, share: 0.4 } : { rounds: 15, share: 1 };
const starts = isQuick ? 3 : 20;

if (!existsSync(binary)) {
  console.error("dist/bunker is missing. Build it first: bun run build");
  process.exit(2);
}
const stage = openStage();
const say = (what: string) => console.error(`${what} …`);
try {
  say("Compiling the rivals");
  const binaries = await compileAll(stage, binary);
  say("Measuring size and memory");
  const footprint = await measureFootprint(stage, binaries);
  say(`Measuring ${starts} starts of each kind`);
  const coldStarts = await measureStarts(stage, binaries, starts);
  say("Measuring requests");
  const requests = await measureRequests(stage, binaries, effort);
  say("Measuring traces");
  const traces = await measureTraces(stage, binaries, effort);
  say("Measuring refreshes");
  const refreshes = await measureRefreshes(stage, binaries, effort);
  say("Telling failed sign-ins apart");
  const sameness = await measureSameness(stage, binaries, effort);
  say("Flooding");
  const floods = await measureFloods(stage, binaries);
  const table = printTable([
    ...requests,
    ...traces,
    ...refreshes,
    ...sameness,
    ...floods,
    ...coldStarts,
    ...footprint,
  ]);
  console.log(table);
  if (Bun.argv.includes("--write")) await writeTable(table);
} catch (error) {
  if (!stage.isInterrupted()) console.error(error);
  process.exitCode = 1;
} finally {
  await stage.close();
}
process.exit();
