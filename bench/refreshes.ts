import { join } from "node:path";
import { createDatabase } from "./database.ts";
import { openSession, registerPeople, user } from "./people.ts";
import { compare, type Effort } from "./requests.ts";
import type { RotationLoad } from "./rotations.ts";
import { type Binaries, quietSettings, startServer } from "./servers.ts";
import { type Stage, stop } from "./stage.ts";
import { type Line, median, printRatios } from "./table.ts";

const SESSIONS = 32;
const REFRESHES = 6_000;
const RATE_LEAST = 0.5;

/** Refreshes a second, limits and all, beside postgres.js alone, which runs the same two statements. */
export async function measureRefreshes(
  stage: Stage,
  binaries: Binaries,
  { rounds, share }: Effort,
): Promise<Line[]> {
  const url = await createDatabase(stage);
  const bunker = await startServer(stage, binaries.bunker, {
    ...quietSettings,
    DATABASE_URL: url,
    DATA_DIR: stage.dir,
    RATE_LIMIT: "on",
    // Each session comes from an address of its own, as out in the world, and none too often.
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
  await registerPeople(bunker);
  // One after the other: so many at once would wait at the hashing gate for longer than it lets them.
  const tokens: string[] = [];
  while (tokens.length < 2 * SESSIONS) tokens.push((await openSession(bunker, user)).refresh_token);
  const refreshes = Math.ceil(REFRESHES * share);
  const load: RotationLoad = { url, tokens: tokens.slice(SESSIONS), refreshes };
  let mine = tokens.slice(0, SESSIONS);
  const rateOf = async (file: string, options: object) => {
    const path = join(import.meta.dir, file);
    const printed = await stage.run([process.execPath, path, JSON.stringify(options)]);
    return JSON.parse(printed) as { seconds: number; tokens?: string[] };
  };
  const ours = async () => {
    const done = await rateOf("refresher.ts", { port: bunker.port, tokens: mine, refreshes });
    mine = done.tokens ?? [];
    return refreshes / done.seconds;
  };
  const theirs = async () => refreshes / (await rateOf("rotations.ts", load)).seconds;
  const rates = await compare([ours, theirs], rounds);
  await stop(bunker.program);
  return [
    {
      what: "POST /api/v1/auth/refresh: refreshes a second, beside postgres.js alone with the same statements",
      measured: `${printRatios(rates.ratios)}: ${rates.ours.toFixed(0)} to ${rates.theirs.toFixed(0)}`,
      must: `≥ ${RATE_LEAST} ×`,
      isKept: median(rates.ratios) >= RATE_LEAST,
    },
  ];
}
