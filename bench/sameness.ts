import { createDatabase } from "./database.ts";
import { other, registerPeople, signIn, superuser, user } from "./people.ts";
import type { Effort } from "./requests.ts";
import { type Binaries, quietSettings, type Server, startServer } from "./servers.ts";
import { type Stage, stop } from "./stage.ts";
import { type Line, median } from "./table.ts";

const SAMPLES = 300;
const APART_MOST = 0.05;

/** Three kinds of failed sign-in, in turns: whoever measures their answers must not tell them apart. */
export async function measureSameness(
  stage: Stage,
  binaries: Binaries,
  { share }: Effort,
): Promise<Line[]> {
  const bunker = await startServer(stage, binaries.bunker, {
    ...quietSettings,
    DATABASE_URL: await createDatabase(stage),
    DATA_DIR: stage.dir,
    FIRST_SUPERUSER_EMAIL: superuser.email,
    FIRST_SUPERUSER_PASSWORD: superuser.password,
  });
  await registerPeople(bunker);
  await deactivate(bunker, other.email);
  const names = { wrong: user.email, unknown: "nobody@bench.example.org", inactive: other.email };
  const times: Record<keyof typeof names, number[]> = { wrong: [], unknown: [], inactive: [] };
  const answers = new Set<string>();
  for (let sample = 0; sample < Math.ceil(SAMPLES * share); sample += 1)
    for (const kind of ["wrong", "unknown", "inactive"] as const) {
      const { milliseconds, answer } = await fail(bunker, names[kind]);
      answers.add(answer);
      if (sample > 0) times[kind].push(milliseconds);
    }
  await stop(bunker.program);
  const line = (kind: "unknown" | "inactive", what: string): Line => {
    const apart = Math.abs(median(times[kind]) / median(times.wrong) - 1);
    const chance = chanceOfSame(times[kind], times.wrong);
    return {
      what: `a failed sign-in, ${what}, beside a wrong password: medians apart; chance that so much comes of nothing`,
      measured: `${(apart * 100).toFixed(1)} % of ${median(times.wrong).toFixed(1)} ms; p = ${chance.toFixed(2)}; ${answers.size} kind of answer`,
      must: `≤ ${APART_MOST * 100} %, 1 kind`,
      isKept: apart <= APART_MOST && answers.size === 1,
    };
  };
  return [line("unknown", "unknown name"), line("inactive", "deactivated account")];
}

async function fail({ port }: Server, username: string) {
  const from = performance.now();
  const response = await fetch(`http://127.0.0.1:${port}/api/v1/auth/login`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ username, password: "not the password at all" }),
  });
  const { request_id: _, ...body } = (await response.json()) as Record<string, unknown>;
  const milliseconds = performance.now() - from;
  const headers = [...response.headers].filter(
    ([name]) => !["date", "x-request-id"].includes(name),
  );
  return { milliseconds, answer: JSON.stringify([response.status, headers, body]) };
}

async function deactivate(bunker: Server, email: string): Promise<void> {
  const authorization = `Bearer ${await signIn(bunker, superuser)}`;
  const api = `http://127.0.0.1:${bunker.port}/api/v1/users`;
  const list = await fetch(`${api}?limit=200`, { headers: { authorization } });
  const found = ((await list.json()) as { id: string; email: string }[]).find(
    (one) => one.email === email,
  );
  const answer = await fetch(`${api}/${found?.id}`, {
    method: "PATCH",
    headers: { authorization, "content-type": "application/json" },
    body: JSON.stringify({ is_active: false }),
  });
  if (!answer.ok) throw new Error(`deactivation answered ${answer.status}`);
}

/** Mann and Whitney's rank test, two-sided, by its normal approximation: good from some twenty samples on. */
function chanceOfSame(left: number[], right: number[]): number {
  const ranked = [
    ...left.map((time) => ({ time, isLeft: true })),
    ...right.map((time) => ({ time, isLeft: false })),
  ].sort((a, b) => a.time - b.time);
  const rankSum = ranked.reduce((sum, { isLeft }, at) => sum + (isLeft ? at + 1 : 0), 0);
  const [n, m] = [left.length, right.length];
  const u = rankSum - (n * (n + 1)) / 2;
  const z = Math.abs(u - (n * m) / 2) / Math.sqrt((n * m * (n + m + 1)) / 12);
  return 2 * (1 - normal(z));
}

/** The normal distribution function for z ≥ 0 (Abramowitz and Stegun, 26.2.17): right to seven places. */
function normal(z: number): number {
  const t = 1 / (1 + 0.2316419 * z);
  const series = [0.31938153, -0.356563782, 1.781477937, -1.821255978, 1.330274429];
  const tail = series.reduce((sum, factor, power) => sum + factor * t ** (power + 1), 0);
  return 1 - (Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI)) * tail;
}
