import manifest from "../../package.json" with { type: "json" };

export const version: string = manifest.version;

/** True in the one-file binary, false from source. */
export const isCompiled =
  import.meta.path.startsWith("/$bunfs/") || import.meta.path.includes("~BUN");
