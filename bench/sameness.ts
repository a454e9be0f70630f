import { setTimeout as sleep } from "node:timers/promises";
import { createDatabase } from "./database.ts";
import type { Effort } from "./requests.ts";
import { type Binaries, quietSettings, type Server, startServer } from "./servers.ts";
import { median, type Row } from "./table.ts";
import { other, registerUsers, signIn, superuser, superuserSettings, user } from "./users.ts";
import { stop, type Workspace } from "./workspace.ts";

const SAMPLES = 300;
const DIFFERENCE_MAX = 0.05;

/** Requests to one endpoint, one for each kind of user. The first kind is the reference. */
interface Trial {
  what: string;
  path: string;
  kinds: Record<string, (sample: number) => object>;
  /** Runs before each sample. */
  prepare?: (bunker: Server, sample: number) => Promise<unknown>;
  /** Takes one sample in this many. */
  rarity?: number;
}

const wrong = { password: "not the password at all" };
const right = { password: "correct horse battery staple" };
const signIns: Trial = {
  what: "failed sign-in",
  path: "login",
  kinds: {
    "wrong password": () => ({ username: user.email, ...wrong }),
    "unknown name": () => ({ username: "nobody@bench.example.org", ...wrong }),
    "deactivated user": () => ({ username: other.email, ...wrong }),
  },
};
const byMail = (what: string, path: string): Trial => ({
  what,
  path,
  kinds: {
    "known email": () => ({ email: user.email }),
    "unknown email": (sample) => ({ email: `nobody-${sample}@bench.example.org` }),
  },
});
const registrations: Trial = {
  what: "registration with REQUIRE_EMAIL_VERIFICATION",
  path: "register",
  kinds: {
    "new email": (sample) => ({ email: `new-${sample}@bench.example.org`, ...right }),
    "verified email": () => ({ email: superuser.email, ...right }),
    "unverified email": () => ({ email: user.email, ...right }),
  },
};

const CODE_TRIES = 5;
const JOB_MS = 1_500;
const codes: Trial = {
  what: "wrong code",
  path: "email-code/verify",
  kinds: {
    "user with a code": () => ({ email: user.email, code: "000000" }),
    "unknown email": (sample) => ({ email: `nobody-${sample}@bench.example.org`, code: "000000" }),
  },
  // A code has five tries. Then a job mails another one.
  prepare: async (bunker, sample) => {
    if (sample % CODE_TRIES > 0) return;
    await send(bunker, "email-code", { email: user.email });
    await sleep(JOB_MS);
  },
  rarity: 3,
};

/** Responses that must not tell who is a user: their times, statuses, headers and bodies. */
export async function measureSameness(
  workspace: Workspace,
  binaries: Binaries,
  { share }: Effort,
): Promise<Row[]> {
  const settings = {
    ...quietSettings,
    DATABASE_URL: await createDatabase(workspace),
    DATA_DIR: workspace.dir,
    ...superuserSettings,
    EMAIL_SIGN_IN: "on",
  };
  const samples = Math.ceil(SAMPLES * share);
  const open = await startServer(workspace, binaries.bunker, settings);
  await registerUsers(open);
  await deactivate(open, other.email);
  const rows: Row[] = [];
  for (const trial of [
    signIns,
    byMail("password reset", "password/forgot"),
    byMail("verification mail", "email/verify/resend"),
    byMail("sign-in mail", "email-code"),
    codes,
  ])
    rows.push(...(await compare(open, trial, samples)));
  await stop(open.program);
  const verifying = { ...settings, REQUIRE_EMAIL_VERIFICATION: "on" };
  const strict = await startServer(workspace, binaries.bunker, verifying);
  rows.push(...(await compare(strict, registrations, samples)));
  await stop(strict.program);
  return rows;
}

async function compare(bunker: Server, trial: Trial, samples: number): Promise<Row[]> {
  const names = Object.keys(trial.kinds);
  const times = new Map<string, number[]>(names.map((name) => [name, []]));
  const responses = new Set<string>();
  for (let sample = 0; sample <= samples / (trial.rarity ?? 1); sample += 1) {
    await trial.prepare?.(bunker, sample);
    for (const [name, bodyOf] of Object.entries(trial.kinds)) {
      const { milliseconds, content } = await send(bunker, trial.path, bodyOf(sample));
      responses.add(content);
      if (sample > 0) times.get(name)?.push(milliseconds);
    }
  }
  const [first = "", ...others] = names;
  const reference = times.get(first) ?? [];
  return others.map((name) => {
    const these = times.get(name) ?? [];
    const difference = Math.abs(median(these) / median(reference) - 1);
    const chance = chanceOfSame(these, reference);
    return {
      what: `${trial.what}: ${name}, compared with ${first}: difference of medians; p (Mann–Whitney)`,
      measured: `${(difference * 100).toFixed(1)} % of ${median(reference).toFixed(1)} ms; p = ${chance.toFixed(2)}; ${responses.size} kind of response`,
      must: `≤ ${DIFFERENCE_MAX * 100} %, 1 kind`,
      isMet: difference <= DIFFERENCE_MAX && responses.size === 1,
    };
  });
}

async function send({ port }: Server, path: string, body: object) {
  const from = performance.now();
  const response = await fetch(`http://127.0.0.1:${port}/api/v1/auth/${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const { request_id: _, ...rest } = (await response.json()) as Record<string, unknown>;
  const milliseconds = performance.now() - from;
  const headers = [...response.headers].filter(
    ([name]) => !["date", "x-request-id"].includes(name),
  );
  return { milliseconds, content: JSON.stringify([response.status, headers, rest]) };
}
async function deactivate(bunker: Server, email: string): Promise<void> {
  const authorization = `Bearer ${await signIn(bunker, superuser)}`;
  const api = `http://127.0.0.1:${bunker.port}/api/v1/users`;
  const list = await fetch(`${api}?limit=200`, { headers: { authorization } });
  const found = ((await list.json()) as { id: string; email: string }[]).find(
    (one) => one.email === email,
  );
  const response = await fetch(`${api}/${found?.id}`, {
    method: "PATCH",
    headers: { authorization, "content-type": "application/json" },
    body: JSON.stringify({ is_active: false }),
  });
  if (!response.ok) throw new Error(`deactivation returned ${response.status}`);
}

/**
 * The rank test of Mann and Whitney, two-sided, by its normal approximation (from 20 samples on).
 */
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

/** The normal distribution function for z ≥ 0 (Abramowitz and Stegun, 26.2.17), to seven digits. */
function normal(z: number): number {
  const t = 1 / (1 + 0.2316419 * z);
  const series = [0.31938153, -0.356563782, 1.781477937, -1.821255978, 1.330274429];
  const tail = series.reduce((sum, factor, power) => sum + factor * t ** (power + 1), 0);
  return 1 - (Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI)) * tail;
}
