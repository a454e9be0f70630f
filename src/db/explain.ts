import { resolve } from "node:path";
import type { Config } from "../config/config.ts";
import { describePostgresUrl } from "../config/postgres-url.ts";
import { Exit } from "../kit/exit.ts";
import { explainFailure } from "./connection-failures.ts";
import { causeOf } from "./failures.ts";

/** Describes the database of a configuration for the operator. */
export const describePlace = ({ databaseUrl: url, dataDir }: Config): string =>
  url ? `PostgreSQL at ${describePostgresUrl(url)}` : `embedded PostgreSQL in ${resolve(dataDir)}`;

/** `isDirect`: the connection that goes around the pooler. */
const sourceOf = ({ databaseUrl, databaseDirectUrl }: Config, isDirect: boolean) =>
  isDirect && databaseDirectUrl !== undefined
    ? ({ setting: "DATABASE_DIRECT_URL", url: databaseDirectUrl } as const)
    : ({ setting: "DATABASE_URL", url: databaseUrl ?? "" } as const);

/** Runs `work` in the database. A failure becomes an Exit that says what to do. */
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

/** An Exit that says what to do about a failure of the database. */
export function explain(config: Config, isDirect: boolean, error: unknown): Exit {
  if (error instanceof Exit) return error;
  if (config.databaseUrl) return explainFailure(error, sourceOf(config, isDirect));
  const { code = "no code" } = causeOf(error);
  return new Exit(
    "unavailable",
    `The embedded database in ${config.dataDir} does not answer (${code}); see ${config.dataDir}/postgres.log.`,
  );
}
