import { setTimeout as sleep } from "node:timers/promises";
import type { Ctx, Readiness } from "./ctx.ts";
import type { Database } from "./db/db.ts";
import type { Embedded } from "./db/embedded/embedded.ts";
import { migrationStatus } from "./db/migrate.ts";
import type { Log } from "./kit/log.ts";

const READINESS_MAX_MS = 1_000;
const DISK_MIN_BYTES = 64 << 20;

interface Dependencies {
  database: Database;
  log: Log;
  embedded: Pick<Embedded, "freeBytes"> | undefined;
}

/** Each check is bounded: a database that hangs is one that has failed. What fails is logged when it begins to. */
export function openReadiness({ database, log, embedded }: Dependencies): Ctx["readiness"] {
  const failing = new Set<string>();
  const within = async (part: keyof Readiness, check: Promise<boolean>) => {
    const late = sleep(READINESS_MAX_MS, false, { ref: false });
    let reason: unknown;
    const failed = (error: unknown) => {
      reason = error;
      return false;
    };
    const isOk = await Promise.race([check.catch(failed), late]);
    if (!isOk && !failing.has(part)) log.warn({ part, err: reason }, "Not ready.");
    if (isOk && failing.delete(part)) log.info({ part }, "Ready again.");
    if (!isOk) failing.add(part);
    return isOk ? "ok" : "failed";
  };
  return async () => {
    const status = migrationStatus(database.sql);
    const [connected, migrations, disk] = await Promise.all([
      within(
        "database",
        status.then(() => true),
      ),
      within(
        "migrations",
        status.then(({ pending }) => pending.length === 0),
      ),
      within("disk", hasRoom(embedded)),
    ]);
    return { database: connected, migrations, disk };
  };
}

const hasRoom = async (embedded: Dependencies["embedded"]): Promise<boolean> =>
  embedded === undefined || (await embedded.freeBytes()) > DISK_MIN_BYTES;
