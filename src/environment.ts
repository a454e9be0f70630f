import { existsSync } from "node:fs";
import { type Config, readConfig } from "./config/config.ts";
import { isCompiled } from "./kit/build.ts";
import { openLog } from "./kit/log.ts";
import { hasColor, STANDARD_ERROR } from "./terminal.ts";

export const ENV_FILE = "--env-file";

/** From source, Bun itself reads `.env` before this program starts. */
const isEnvFileIgnored = (): boolean =>
  isCompiled && existsSync(".env") && !process.argv.some((word) => word.startsWith(ENV_FILE));

/** Reads the configuration, and returns warnings about likely mistakes in it. */
export function readSettings(options: { isServing?: boolean } = {}) {
  const { config, warnings } = readConfig(process.env, options);
  if (isEnvFileIgnored())
    warnings.push("The file .env in this folder is not read. To use it: bunker --env-file .env …");
  return { config, warnings };
}

/** For a command. Warnings go to the log, because programs read standard output. */
export async function loadConfig(): Promise<Config> {
  const { config, warnings } = readSettings();
  if (warnings.length === 0) return config;
  const { logLevel: level, logFormat: format } = config;
  const log = openLog({ level, format, isColored: hasColor(STANDARD_ERROR) });
  for (const warning of warnings) log.warn({}, warning);
  await log.close();
  return config;
}
