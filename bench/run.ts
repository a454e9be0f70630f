import { binary, runBenchmark } from "./benchmark.ts";
import { measureFloods } from "./floods.ts";
import { measureFootprint } from "./footprint.ts";
import { measureRefreshes } from "./refreshes.ts";
import { type Effort, measureRequests } from "./requests.ts";
import { measureSameness } from "./sameness.ts";
import { compileAll } from "./servers.ts";
import { measureStarts } from "./starts.ts";
import { printTable } from "./table.ts";
import { measureTraces } from "./traces.ts";
import { writeTable } from "./write-table.ts";

/**
 * `bun bench/run.ts [--quick] [--write]` prints a table. `--write` also writes it to
 * docs/performance.md. Exit codes: 0 whatever the figures are, 1 if a measurement failed, 2 without
 * a binary.
 */
const isQuick = Bun.argv.includes("--quick");
const effort: Effort = isQuick ? { rounds: 5, share: 0.4 } : { rounds: 15, share: 1 };
const starts = isQuick ? 3 : 20;

await runBenchmark(async (workspace, report) => {
  report("Compiling the baseline");
  const binaries = await compileAll(workspace, binary);
  report("Measuring size and memory");
  const footprint = await measureFootprint(workspace, binaries);
  report(`Measuring ${starts} starts of each kind`);
  const coldStarts = await measureStarts(workspace, binaries, starts);
  report("Measuring requests");
  const requests = await measureRequests(workspace, binaries, effort);
  report("Measuring traces");
  const traces = await measureTraces(workspace, binaries, effort);
  report("Measuring refreshes");
  const refreshes = await measureRefreshes(workspace, binaries, effort);
  report("Comparing responses that must not differ");
  const sameness = await measureSameness(workspace, binaries, effort);
  report("Flooding");
  const floods = await measureFloods(workspace, binaries);
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
  if (Bun.argv.includes("--write")) await writeTable("table", table);
});
