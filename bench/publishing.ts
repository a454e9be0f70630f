import { binary } from "./benchmark.ts";
import { createDatabase } from "./database.ts";
import { quietSettings, type Server, startServer } from "./servers.ts";
import { registerUsers, signIn, superuser, superuserSettings } from "./users.ts";
import type { Workspace } from "./workspace.ts";

const CHANGERS = 16;

export interface Measured {
  server: Server;
  /** Of an administrator. */
  token: string;
  /** Of users who change their names. */
  tokens: string[];
}

export async function openMeasured(
  workspace: Workspace,
  env: Record<string, string> = {},
): Promise<Measured> {
  const url = await createDatabase(workspace);
  const server = await startServer(workspace, binary, {
    ...quietSettings,
    ...superuserSettings,
    DATABASE_URL: url,
    DATA_DIR: workspace.dir,
    WEBHOOKS_ALLOW_PRIVATE: "true",
    STREAMS_PER_USER: "20000",
    ACCESS_TOKEN_EXPIRE_MINUTES: "600",
    ...env,
  });
  await registerUsers(server);
  const password = superuser.password;
  const emails = Array.from({ length: CHANGERS }, (_, one) => `user-${one}@bench.example.org`);
  const tokens: string[] = [];
  for (const email of emails) tokens.push(await signIn(server, { email, password }));
  return { server, token: await signIn(server, superuser), tokens };
}

export const change = async (
  workspace: Workspace,
  { server, tokens }: Measured,
  { changes, everyMs = 0 }: { changes: number; everyMs?: number },
): Promise<number> => {
  const load = { port: server.port, tokens, changes, everyMs };
  return (await workspace.runScript<{ seconds: number }>("changer.ts", load)).seconds;
};

export const percentile = (numbers: number[], share: number): number =>
  numbers.toSorted((a, b) => a - b)[Math.ceil(share * numbers.length) - 1] ?? Number.NaN;
