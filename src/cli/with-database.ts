import { setTimeout as sleep } from "node:timers/promises";
import type { Config } from "../config/config.ts";
import type { Ctx } from "../ctx.ts";
import { describePlace, explain } from "../db/explain.ts";
import { isDatabaseOutage } from "../db/failures.ts";
import { loadConfig } from "../environment.ts";
import { Exit } from "../kit/exit.ts";
import { Problem, problemText } from "../kit/problem.ts";
import { keepEventOrder } from "../modules/events/order.ts";
import { type Answer, hasColor, printAnswer, printNote, STANDARD_ERROR } from "../terminal.ts";
import { type Wired, wireOnce } from "../wire.ts";

/** For a command that changes nothing. A Problem becomes an Exit with its message. */
export const readDatabase = async (work: (ctx: Ctx) => Promise<void>): Promise<void> =>
  withDatabase(await loadConfig(), work);

/** For a command that changes the database. Prints the result, and which database was changed. */
export async function changeDatabase(
  isJson: boolean | undefined,
  work: (ctx: Ctx) => Promise<Answer & { isUnchanged?: boolean }>,
): Promise<void> {
  const config = await loadConfig();
  await withDatabase(config, async (ctx) => {
    // After a restore, a command may record events before a server starts.
    await keepEventOrder(ctx);
    const answer = await work(ctx);
    printAnswer(answer, isJson);
    if (!answer.isUnchanged) noteChange(config);
  });
}

/** On standard error, because programs read standard output. */
export const noteChange = (config: Config): void => printNote(`Changed: ${describePlace(config)}`);

/** How long a command waits while a running server migrates the database. */
const MIGRATION_MAX_MS = 30_000;
const CHECK_EVERY_MS = 50;

async function isMigrated(checkSchema: Wired["checkSchema"], timeoutMs: number): Promise<boolean> {
  const giveUpAt = performance.now() + timeoutMs;
  while ((await checkSchema()).pending.length > 0) {
    if (performance.now() >= giveUpAt) return false;
    await sleep(CHECK_EVERY_MS);
  }
  return true;
}

async function withDatabase(config: Config, work: (ctx: Ctx) => Promise<void>): Promise<void> {
  const { ctx, checkSchema, close, isBesideServer } = await wireOnce(config, {
    purpose: "command",
    isColored: hasColor(STANDARD_ERROR),
  });
  try {
    const timeoutMs = isBesideServer ? MIGRATION_MAX_MS : 0;
    if (!(await isMigrated(checkSchema, timeoutMs)))
      throw new Exit(
        "failed",
        `The schema of ${describePlace(config)} is not up to date. Run: bunker migrate`,
      );
    await work(ctx);
  } catch (error) {
    if (error instanceof Problem) throw new Exit("failed", problemText(error));
    throw isDatabaseOutage(error) ? explain(config, false, error) : error;
  } finally {
    await close();
  }
}
