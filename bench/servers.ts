import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { findFreePort, type Program, type Stage, untilAnswering } from "./stage.ts";

/** The compiled programs of a run. */
export interface Binaries {
  bunker: string;
  limit: string;
  bare: string;
}

export interface Server {
  program: Program;
  pid: number;
  port: number;
  /** From the start of its process to its first answer. */
  startMillis: number;
}

/** Copies Bunker's binary, so that a build in the meantime changes nothing, and compiles its rivals as it was compiled. */
export async function compileAll(stage: Stage, bunker: string): Promise<Binaries> {
  const binaries = {
    bunker: join(stage.dir, "bunker"),
    limit: join(stage.dir, "limit"),
    bare: join(stage.dir, "bare"),
  };
  copyFileSync(bunker, binaries.bunker);
  for (const name of ["limit", "bare"] as const)
    await stage.run([
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

/** Starts a server on a free port and waits for its first answer. */
export async function startServer(
  stage: Stage,
  binary: string,
  env: Record<string, string>,
): Promise<Server> {
  const port = findFreePort();
  const startedAt = performance.now();
  const program = stage.start([binary], { PORT: String(port), ...env });
  await untilAnswering(program, port);
  return { program, pid: program.child.pid, port, startMillis: performance.now() - startedAt };
}

/** Bunker without what would measure something else: limits, log lines. Development needs no PUBLIC_URL. */
export const quietSettings = {
  BUNKER_ENV: "development",
  RATE_LIMIT: "off",
  LOG_ACCESS: "off",
  LOG_LEVEL: "warn",
};
