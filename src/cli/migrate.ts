import { type MigrationStatus, migrationStatus } from "../db/migrate.ts";
import { loadConfig } from "../environment.ts";
import { Exit } from "../kit/exit.ts";
import { hasColor, type JsonFlag, printAnswer, STANDARD_ERROR } from "../terminal.ts";
import { openSchema } from "../wire.ts";
import { noteChange } from "./with-database.ts";

export async function migrateCommand({ json: isJson }: JsonFlag, word?: string): Promise<void> {
  if (word !== undefined && word !== "status")
    throw new Exit("usage", "Usage: bunker migrate [status]\nSee: bunker migrate --help");
  const isChange = word === undefined;
  const config = await loadConfig();
  const { database, checkSchema, migrate, close } = await openSchema(config, {
    purpose: isChange ? "migrate" : "command",
    isColored: hasColor(STANDARD_ERROR),
  });
  try {
    await checkSchema();
    const applied = isChange ? await migrate() : [];
    const status = await migrationStatus(database.sql);
    const json = { ...status, applied_now: applied };
    printAnswer({ json, text: isChange ? appliedText(applied) : statusText(status) }, isJson);
    if (applied.length > 0) noteChange(config);
  } finally {
    await close();
  }
}

const appliedText = (applied: string[]): string =>
  applied.length === 0
    ? "Nothing to do: the database schema is up to date."
    : applied.map((tag) => `applied  ${tag}`).join("\n");

const statusText = ({ applied, pending, unknown }: MigrationStatus): string =>
  [
    ...applied.map((tag) => `${unknown.includes(tag) ? "unknown" : "applied"}  ${tag}`),
    ...pending.map((tag) => `pending  ${tag}`),
  ].join("\n");
