import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { findFreePort, type Program, untilServing, type Workspace } from "./workspace.ts";

/** The compiled programs of a run. */
export interface Binaries {
  bunker: string;
  baseline: string;
  bare: string;
}

export interface Server {
  program: Program;
  pid: number;
  port: number;
  /** From the start of its process to its first response. */
  startMillis: number;
}

/**
 * Copies Bunker's binary, so that a build during the run does not change it. Compiles the others
 * with the same options.
 */
export async function compileAll(workspace: Workspace, bunker: string): Promise<Binaries> {
  const binaries = {
    bunker: join(workspace.dir, "bunker"),
    baseline: join(workspace.dir, "baseline"),
    bare: join(workspace.dir, "bare"),
  };
  copyFileSync(bunker, binaries.bunker);
  for (const name of ["baseline", "bare"] as const)
    await workspace.run([
      process.execPath,
      "build",
      ...FLAGS,
      join(import.meta.dir, `${name}.ts`),
      "--outfile",
      binaries[name],
    ]);
  return binaries;
}

const FLAGS = [
  "--compile",
  "--bytecode",
  "--format=esm",
  "--sourcemap",
  "--no-compile-autoload-dotenv",
  "--no-compile-autoload-bunfig",
];

/** Starts a server on a free port and waits for its first response. */
export async function startServer(
  workspace: Workspace,
  binary: string,
  env: Record<string, string>,
): Promise<Server> {
  const port = findFreePort();
  const startedAt = performance.now();
  const program = workspace.start([binary], { PORT: String(port), ...env });
  await untilServing(program, port);
  return { program, pid: program.child.pid, port, startMillis: performance.now() - startedAt };
}

/** Without rate limits and log lines, which would distort the measurement. */
export const quietSettings = {
  BUNKER_ENV: "development",
  RATE_LIMIT: "off",
  LOG_ACCESS: "off",
  LOG_LEVEL: "warn",
};
