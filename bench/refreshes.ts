import { createDatabase } from "./database.ts";
import type { RefreshResult } from "./refresher.ts";
import { compare, type Effort } from "./requests.ts";
import type { RotationLoad } from "./rotations.ts";
import { type Binaries, quietSettings, startServer } from "./servers.ts";
import { median, printRatios, type Row } from "./table.ts";
import { openSession, registerUsers, user } from "./users.ts";
import { stop, type Workspace } from "./workspace.ts";

const SESSIONS = 32;
const REFRESHES = 6_000;
const RATE_MIN = 0.5;

/**
 * Refreshes a second, with rate limits, compared with postgres.js that runs the same statements.
 */
export async function measureRefreshes(
  workspace: Workspace,
  binaries: Binaries,
  { rounds, share }: Effort,
): Promise<Row[]> {
  const url = await createDatabase(workspace);
  const bunker = await startServer(workspace, binaries.bunker, {
    ...quietSettings,
    DATABASE_URL: url,
    DATA_DIR: workspace.dir,
    RATE_LIMIT: "on",
    // Each session has a client IP of its own, and no limit is reached.
    TRUSTED_PROXIES: "127.0.0.1",
    LIMITS: [
      "register",
      "login",
      "login-account",
      "login-address",
      "sign-ins",
      "refresh-session",
      "refresh-address",
    ]
      .map((name) => `${name}=9999999/60`)
      .join(),
  });
  await registerUsers(bunker);
  // One by one: so many at once would exceed the queue for password hashing.
  const tokens: string[] = [];
  while (tokens.length < 2 * SESSIONS) tokens.push((await openSession(bunker, user)).refresh_token);
  const refreshes = Math.ceil(REFRESHES * share);
  const load: RotationLoad = { url, tokens: tokens.slice(SESSIONS), refreshes };
  let current = tokens.slice(0, SESSIONS);
  const ours = async () => {
    const options = { port: bunker.port, tokens: current, refreshes };
    const done = await workspace.runScript<RefreshResult>("refresher.ts", options);
    current = done.tokens;
    return refreshes / done.seconds;
  };
  const theirs = async () => {
    const { seconds } = await workspace.runScript<{ seconds: number }>("rotations.ts", load);
    return refreshes / seconds;
  };
  const rates = await compare([ours, theirs], rounds);
  await stop(bunker.program);
  return [
    {
      what: "POST /api/v1/auth/refresh: refreshes a second, compared with postgres.js alone with the same statements",
      measured: `${printRatios(rates.ratios)}: ${rates.ours.toFixed(0)} to ${rates.theirs.toFixed(0)}`,
      must: `≥ ${RATE_MIN} ×`,
      isMet: median(rates.ratios) >= RATE_MIN,
    },
  ];
}
