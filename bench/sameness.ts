import { setTimeout as sleep } from "node:timers/promises";
import { createDatabase } from "./database.ts";
import { other, registerPeople, signIn, superuser, user } from "./people.ts";
import type { Effort } from "./requests.ts";
import { type Binaries, quietSettings, type Server, startServer } from "./servers.ts";
import { type Stage, stop } from "./stage.ts";
import { type Line, median } from "./table.ts";

const SAMPLES = 300;
const APART_MOST = 0.05;

/** Who asks where, under the address of one kind of person; the first kind is the one that others are compared with. */
interface Trial {
  what: string;
  path: string;
  kinds: Record<string, (sample: number) => object>;
  /** What has to be so before each sample. */
  prepare?: (bunker: Server, sample: number) => Promise<unknown>;
  /** How much less often than others it is tried. */
  rarity?: number;
}

const wrong = { password: "not the password at all" };
const right = { password: "correct horse battery staple" };
const signIns: Trial = {
  what: "a failed sign-in",
  path: "login",
  kinds: {
    "a wrong password": () => ({ username: user.email, ...wrong }),
    "an unknown name": () => ({ username: "nobody@bench.example.org", ...wrong }),
    "a deactivated account": () => ({ username: other.email, ...wrong }),
  },
};
const byMail = (what: string, path: string): Trial => ({
  what,
  path,
  kinds: {
    "an account's address": () => ({ email: user.email }),
    "nobody's": (sample) => ({ email: `nobody-${sample}@bench.example.org` }),
  },
});
const registrations: Trial = {
  what: "a registration, addresses to be proven",
  path: "register",
  kinds: {
    "a new address": (sample) => ({ email: `new-${sample}@bench.example.org`, ...right }),
    "a proven one": () => ({ email: superuser.email, ...right }),
    "one that is not proven": () => ({ email: user.email, ...right }),
  },
};

const CODE_TRIES = 5;
const JOB_MS = 1_500;
const codes: Trial = {
  what: "a wrong code",
  path: "email-code/verify",
  kinds: {
    "an account that has one": () => ({ email: user.email, code: "000000" }),
    nobody: (sample) => ({ email: `nobody-${sample}@bench.example.org`, code: "000000" }),
  },
  // A code is looked at five times; a job mails another one.
  prepare: async (bunker, sample) => {
    if (sample % CODE_TRIES > 0) return;
    await ask(bunker, "email-code", { email: user.email });
    await sleep(JOB_MS);
  },
  rarity: 3,
};

/** Answers that must not tell who has an account, in turns: their times, statuses, headers and bodies. */
export async function measureSameness(
  stage: Stage,
  binaries: Binaries,
  { share }: Effort,
): Promise<Line[]> {
  const settings = {
    ...quietSettings,
    DATABASE_URL: await createDatabase(stage),
    DATA_DIR: stage.dir,
    FIRST_SUPERUSER_EMAIL: superuser.email,
    FIRST_SUPERUSER_PASSWORD: superuser.password,
    EMAIL_SIGN_IN: "on",
  };
  const samples = Math.ceil(SAMPLES * share);
  const open = await startServer(stage, binaries.bunker, settings);
  await registerPeople(open);
  await deactivate(open, other.email);
  const lines: Line[] = [];
  for (const trial of [
    signIns,
    byMail("a forgotten password", "password/forgot"),
    byMail("a link to prove an address", "email/verify/resend"),
    byMail("a mail to sign in by", "email-code"),
    codes,
  ])
    lines.push(...(await compare(open, trial, samples)));
  await stop(open.program);
  const careful = { ...settings, REQUIRE_EMAIL_VERIFICATION: "on" };
  const quiet = await startServer(stage, binaries.bunker, careful);
  lines.push(...(await compare(quiet, registrations, samples)));
  await stop(quiet.program);
  return lines;
}

async function compare(bunker: Server, trial: Trial, samples: number): Promise<Line[]> {
  const names = Object.keys(trial.kinds);
  const times = new Map<string, number[]>(names.map((name) => [name, []]));
  const answers = new Set<string>();
  for (let sample = 0; sample <= samples / (trial.rarity ?? 1); sample += 1) {
    await trial.prepare?.(bunker, sample);
    for (const [name, bodyOf] of Object.entries(trial.kinds)) {
      const { milliseconds, answer } = await ask(bunker, trial.path, bodyOf(sample));
      answers.add(answer);
      if (sample > 0) times.get(name)?.push(milliseconds);
    }
  }
  const [first = "", ...others] = names;
  const yardstick = times.get(first) ?? [];
  return others.map((name) => {
    const these = times.get(name) ?? [];
    const apart = Math.abs(median(these) / median(yardstick) - 1);
    const chance = chanceOfSame(these, yardstick);
    return {
      what: `${trial.what}, ${name}, beside ${first}: medians apart; p (Mann and Whitney)`,
      measured: `${(apart * 100).toFixed(1)} % of ${median(yardstick).toFixed(1)} ms; p = ${chance.toFixed(2)}; ${answers.size} kind of answer`,
      must: `≤ ${APART_MOST * 100} %, 1 kind`,
      isKept: apart <= APART_MOST && answers.size === 1,
    };
  });
}

async function ask({ port }: Server, path: string, body: object) {
  const from = performance.now();
  const response = await fetch(`http://127.0.0.1:${port}/api/v1/auth/${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const { request_id: _, ...said } = (await response.json()) as Record<string, unknown>;
  const milliseconds = performance.now() - from;
  const headers = [...response.headers].filter(
    ([name]) => !["date", "x-request-id"].includes(name),
  );
  return { milliseconds, answer: JSON.stringify([response.status, headers, said]) };
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
