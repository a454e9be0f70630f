import { join } from "node:path";
import manifest from "../../package.json" with { type: "json" };

export const version: string = manifest.version;

/** True in the one-file binary, false from source. */
export const isCompiled =
  import.meta.path.startsWith("/$bunfs/") || import.meta.path.includes("~BUN");

/** The command that starts this program again, before its arguments. */
export const ownProgram: readonly string[] = isCompiled
  ? [process.execPath]
  : [process.execPath, join(import.meta.dir, "../main.ts")];
