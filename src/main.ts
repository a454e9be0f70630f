import { HAND_OVER, handOver } from "./db/embedded/postmaster.ts";
import { Exit, exitCodes } from "./kit/exit.ts";

const [first, second = ""] = process.argv.slice(2);
if (first === HAND_OVER) handOver(second);

try {
  const { run } = await import("./cli/commands.ts");
  await run(process.argv.slice(2));
  process.exit(exitCodes.ok);
} catch (error) {
  process.stderr.write(
    error instanceof Exit ? `${error.message.trimEnd()}\n` : `${(error as Error).stack}\n`,
  );
  process.exit(error instanceof Exit ? error.status : exitCodes.failed);
}
