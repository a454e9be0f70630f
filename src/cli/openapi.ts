import { createApp } from "../app.ts";
import type { Config } from "../config/config.ts";
import type { Ctx } from "../ctx.ts";
import { loadConfig } from "../environment.ts";
import { type Log, openLog } from "../kit/log.ts";
import { type JsonFlag, print } from "../terminal.ts";

/** The document of /openapi.json as text. Needs no database: no other route is called. */
export async function openapiText(config: Config): Promise<string> {
  const log: Log = openLog({ level: "error", format: "json" });
  const app = createApp({ config, log } as Ctx);
  const answer = await app.handle(new Request("http://localhost/openapi.json"));
  return JSON.stringify(await answer.json(), null, 2);
}

/** The output is JSON with or without `--json`. */
export const printOpenapi = async (_flags: JsonFlag): Promise<void> =>
  print(await openapiText(await loadConfig()));
