import clusterManifest from "../../../dist/embedded/cluster.manifest" with { type: "file" };
import clusterContents from "../../../dist/embedded/cluster.zst" with { type: "file" };
import postgresManifest from "../../../dist/embedded/postgres.manifest" with { type: "file" };
import postgresContents from "../../../dist/embedded/postgres.zst" with { type: "file" };
import version from "../../../dist/embedded/version.txt" with { type: "text" };
import type { Archive } from "./archive.ts";

/** Packed by build/pack-postgres.ts. The paths are on disk or inside the binary. */
export const archives: Record<"cluster" | "postgres", Archive> = {
  cluster: { contents: clusterContents, manifest: clusterManifest },
  postgres: { contents: postgresContents, manifest: postgresManifest },
};
export { version };
