import { EXEC_POSTGRES, execPostgres } from "./db/embedded/exec-postgres.ts";
import { Exit, exitCodes } from "./kit/exit.ts";
import { endOnStopSignals } from "./kit/signals.ts";

endOnStopSignals();

const [first, second = ""] = process.argv.slice(2);
if (first === EXEC_POSTGRES) await execPostgres(second);

try {
  const { run } = await import("./cli/run.ts");
  await run(process.argv.slice(2));
  process.exit(exitCodes.ok);
} catch (error) {
  if (error instanceof Exit) {
    process.stderr.write(`${error.message.trimEnd()}\n`);
    process.exit(error.status);
  }
  const { describeError } = await import("./kit/log.ts");
  process.stderr.write(`Unexpected error: ${JSON.stringify(describeError(error), null, 2)}\n`);
  process.exit(exitCodes.failed);
}
