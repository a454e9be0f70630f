import { resolve } from "node:path";
import type { Config } from "../config.ts";
import { Exit } from "../kit/exit.ts";
import { describePostgresUrl } from "../kit/postgres-url.ts";
import { explainFailure } from "./connection-failures.ts";
import { causeOf } from "./failures.ts";

/** Where the data is, in words for a person. */
export const describePlace = ({ databaseUrl: url, dataDir }: Config): string =>
  url ? `PostgreSQL at ${describePostgresUrl(url)}` : `embedded PostgreSQL in ${resolve(dataDir)}`;

/** The name of a setting, and its value where the database is not the embedded one. */
const sourceOf = ({ databaseUrl, databaseDirectUrl }: Config, isDirect: boolean) =>
  isDirect && databaseDirectUrl !== undefined
    ? ({ setting: "DATABASE_DIRECT_URL", url: databaseDirectUrl } as const)
    : ({ setting: "DATABASE_URL", url: databaseUrl ?? "" } as const);

/** Does `work` in the database; what fails there is told in words that say what to do. */
export async function explained<T>(
  config: Config,
  isDirect: boolean,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw explain(config, isDirect, error);
  }
}

/** A failure of the database, as an Exit that says what to do. */
export function explain(config: Config, isDirect: boolean, error: unknown): Exit {
  if (error instanceof Exit) return error;
  if (config.databaseUrl) return explainFailure(error, sourceOf(config, isDirect));
  const { code = "no code" } = causeOf(error);
  return new Exit(
    "unavailable",
    `The embedded database in ${config.dataDir} does not answer (${code}); see ${config.dataDir}/postgres.log.`,
  );
}
