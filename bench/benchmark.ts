import { existsSync } from "node:fs";
import { join } from "node:path";
import { openWorkspace, type Workspace } from "./workspace.ts";

/** The program that is measured. */
export const binary = join(import.meta.dir, "../dist/bunker");

type Report = (what: string) => void;

/**
 * Runs a benchmark and ends the process. Exit codes: 0 whatever the figures are, 1 if a measurement
 * failed, 2 without a binary.
 */
export async function runBenchmark(
  measure: (workspace: Workspace, report: Report) => Promise<void>,
): Promise<never> {
  if (!existsSync(binary)) {
    console.error("dist/bunker is missing. Build it first: bun run build");
    process.exit(2);
  }
  const workspace = openWorkspace();
  try {
    await measure(workspace, (what) => console.error(`${what} …`));
  } catch (error) {
    if (!workspace.isInterrupted()) console.error(error);
    process.exitCode = 1;
  } finally {
    await workspace.close();
  }
  process.exit();
}
