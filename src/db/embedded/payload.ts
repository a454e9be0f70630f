import archive from "../../../dist/embedded/postgres.tar.zst" with { type: "file" };
import version from "../../../dist/embedded/version.txt" with { type: "text" };

/** PostgreSQL and an empty cluster, as packed by build/pack-postgres.ts: a path on disk, or inside the binary. */
export { archive, version };
