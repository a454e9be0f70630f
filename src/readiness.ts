import type { Ctx, Readiness } from "./ctx.ts";
import type { Database } from "./db/db.ts";
import type { Embedded } from "./db/embedded/embedded.ts";
import { migrationStatus } from "./db/migrate.ts";
import type { Log } from "./kit/log.ts";
import { within } from "./kit/within.ts";

const READINESS_MAX_MS = 1_000;
const DISK_MIN_BYTES = 64 << 20;

interface Dependencies {
  database: Database;
  log: Log;
  embedded: Pick<Embedded, "freeBytes"> | undefined;
}

/** A database that hangs counts as failed. Logs when a part starts to fail and recovers. */
export function openReadiness({ database, log, embedded }: Dependencies): Ctx["readiness"] {
  const failing = new Set<string>();
  const checkPart = async (part: keyof Readiness, result: Promise<boolean>) => {
    let reason: unknown;
    const recordFailure = (error: unknown) => {
      reason = error;
      return false;
    };
    const isOk = await within(READINESS_MAX_MS, result.catch(recordFailure));
    if (!isOk && !failing.has(part)) log.warn({ part, err: reason }, "Not ready.");
    if (isOk && failing.delete(part)) log.info({ part }, "Ready again.");
    if (!isOk) failing.add(part);
    return isOk ? "ok" : "failed";
  };
  const hasDiskSpace = async () =>
    embedded === undefined || (await embedded.freeBytes()) > DISK_MIN_BYTES;
  return async () => {
    const status = migrationStatus(database.sql);
    const [connected, migrations, disk] = await Promise.all([
      checkPart(
        "database",
        status.then(() => true),
      ),
      checkPart(
        "migrations",
        status.then(({ pending }) => pending.length === 0),
      ),
      checkPart("disk", hasDiskSpace()),
    ]);
    return { database: connected, migrations, disk };
  };
}
