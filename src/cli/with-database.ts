import type { Config } from "../config.ts";
import type { Ctx } from "../ctx.ts";
import { isDatabaseOutage } from "../db/failures.ts";
import { Exit } from "../kit/exit.ts";
import { Problem, wordsOf } from "../kit/problem.ts";
import { explain, wireOnce } from "../wire.ts";

/** Opens the database for one command; a refusal of the domain becomes a sentence for whoever typed it. */
export async function withDatabase(
  config: Config,
  work: (ctx: Ctx) => Promise<void>,
): Promise<void> {
  const { ctx, answers, migrate, close } = await wireOnce(config, "users");
  try {
    const { pending } = await answers();
    if (config.databaseUrl === undefined) await migrate();
    else if (pending.length > 0)
      throw new Exit("failed", "The database schema is not up to date. Run: bunker migrate");
    await work(ctx);
  } catch (error) {
    if (error instanceof Problem) throw new Exit("failed", wordsOf(error));
    throw isDatabaseOutage(error) ? explain(config, false, error) : error;
  } finally {
    await close();
  }
}
