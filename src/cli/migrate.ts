import type { Config } from "../config.ts";
import { migrationStatus } from "../db/migrate.ts";
import { Exit } from "../kit/exit.ts";
import { wireOnce } from "../wire.ts";
import { print, type Typed } from "./terminal.ts";

export async function migrateCommand(config: Config, { words, flags }: Typed): Promise<void> {
  const [word] = words;
  if (word !== undefined && word !== "status")
    throw new Exit("usage", "Usage: bunker migrate [status]");
  const { database, answers, migrate, close } = await wireOnce(config, "migrate");
  try {
    await answers();
    const applied = word === "status" ? [] : await migrate();
    const status = await migrationStatus(database.sql);
    if (flags["json"]) return print(JSON.stringify({ ...status, applied_now: applied }));
    for (const tag of status.applied)
      print(`applied  ${tag}${applied.includes(tag) ? "  (now)" : ""}`);
    for (const tag of status.pending) print(`pending  ${tag}`);
  } finally {
    await close();
  }
}
