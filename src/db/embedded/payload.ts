import cluster from "../../../dist/embedded/cluster.tar.zst" with { type: "file" };
import postgres from "../../../dist/embedded/postgres.tar.zst" with { type: "file" };
import version from "../../../dist/embedded/version.txt" with { type: "text" };

/** PostgreSQL and an empty cluster, as packed by build/pack-postgres.ts: paths on disk, or inside the binary. */
export const archives = { postgres, cluster };
export { version };
