import { createApp } from "../app.ts";
import type { Config } from "../config.ts";
import type { Ctx } from "../ctx.ts";
import { openLog } from "../kit/log.ts";
import { print } from "./terminal.ts";

/** Prints the document that the server answers at /openapi.json. Needs no database: no route but that one is called. */
export async function printOpenapi(config: Config): Promise<void> {
  const app = createApp({ config, log: openLog(config.logLevel) } as Ctx);
  const answer = await app.handle(new Request("http://localhost/openapi.json"));
  print(JSON.stringify(await answer.json(), null, 2));
}
