import { createHmac } from "node:crypto";
import QuickLRU from "quick-lru";
import type { Database, Db } from "../db/db.ts";
import { Problem } from "../kit/problem.ts";
import type { ProblemCode } from "../kit/problem-codes.ts";
import { openLumps } from "./batches.ts";
import { openCounting } from "./counters.ts";
import type { Balance, Count, Ledger, LimitName, Policies, Policy, Spending } from "./policies.ts";
import type { SharedMemory } from "./shared-memory.ts";

export interface LimitsOptions {
  /** False: nothing is limited. */
  isOn: boolean;
  policies: Policies;
  database: Pick<Database, "db" | "sql">;
  shared: SharedMemory;
  /** Makes fingerprints of who is counted: people write passwords into the wrong field. */
  key: Buffer;
  now: () => Date;
}

export interface Limits {
  /**
   * Takes one from each limit, and tells the ledger what is left. Throws `too_many_requests` where one has nothing left;
   * then nothing is taken from the others. What is counted in lumps is spent alone.
   */
  spend: (ledger: Ledger | undefined, spendings: Spending[]) => Promise<void>;
  /**
   * The same, and then the work that it is spent for. Spent before the work is done: of many tries at once no more get
   * through. Where the work could not be done, because the service was busy or the database away, it counts nowhere.
   */
  attempt: <T>(
    ledger: Ledger | undefined,
    spendings: Spending[],
    work: () => Promise<T>,
  ) => Promise<T>;
  /** Gives back what was spent and should not count, in the caller's transaction: so many, or `ALL`. */
  giveBack: (db: Db, spendings: (Spending & { count: number })[]) => Promise<void>;
  /** How often each limit was met, since the start. */
  met: () => Record<string, number>;
}
/** A refusal that says nothing of what was asked: the same may pass the next time. */
const unjudged = new Set<ProblemCode>(["busy", "database_unavailable", "internal"]);
const isJudged = (error: unknown) => error instanceof Problem && !unjudged.has(error.code);

const inLumps = new Set<LimitName>(["requests", "requests-stranger"]);
const REMEMBERED = 20_000;
/** For how long an instance refuses by what it remembers, before it asks again. */
const REFUSED_MS = 1_000;
const FINGERPRINT_BYTES = 16;

/** Answers what was spent. */
type Spend = (ledger: Ledger | undefined, spendings: Spending[]) => Promise<Spending[]>;
interface Attempting extends Pick<Limits, "giveBack"> {
  spend: Spend;
}

interface Account {
  limit: LimitName;
  policy: Policy;
  key: string;
}

const accountsBy =
  (policies: Policies, secret: Buffer) =>
  ({ limit, who }: Spending): Account => {
    const mac = createHmac("sha256", secret).update(`${limit} ${who}`).digest();
    const key = mac.subarray(0, FINGERPRINT_BYTES).toString("hex");
    return { limit, policy: policies[limit], key };
  };

/** Counts for all instances together: all limits of a request in one statement, which also decides who was first. */
export function openLimits({ isOn, policies, database, shared, key, now }: LimitsOptions): Limits {
  const counting = openCounting(database, shared, now);
  const refusals: Refusals = new QuickLRU({ maxSize: REMEMBERED / 2 });
  const met: Record<string, number> = {};
  const spendOfLump = openLumps({
    take: async (spending, count) => {
      const { policy, key: fingerprint } = accountOf(spending);
      const counts = await counting.take([{ ...policy, key: fingerprint, count }]);
      return counts.get(fingerprint) ?? nothing;
    },
    now,
    size: REMEMBERED,
  });

  const accountOf = accountsBy(policies, key);

  const spendExactly = openExactCount({ counting, db: database.db, refusals, now });

  const take = async (spendings: Spending[]): Promise<Balance[]> => {
    const [one] = spendings;
    return one && inLumps.has(one.limit)
      ? [await spendOfLump({ ...one, policy: policies[one.limit] })]
      : spendExactly(spendings.map(accountOf));
  };

  const spend: Spend = async (ledger, spendings) => {
    if (!isOn || !ledger || spendings.length === 0) return [];
    const stray = spendings.find(({ limit }) => !ledger.limits.includes(limit));
    if (stray) throw new Error(`limits: the route does not declare ${stray.limit}`);
    if (spendings.some(({ limit }) => inLumps.has(limit)) && spendings.length > 1)
      throw new Error("limits: what is counted in lumps is spent alone");
    const first = await take(spendings);
    const others = otherwise(spendings, first);
    const balances = others ? await take(others) : first;
    ledger.tell(balances);
    refuseBy(balances, met);
    return others ?? spendings;
  };

  const giveBackTo: Limits["giveBack"] = async (tx, spendings) => {
    if (!isOn) return;
    const backs = spendings.map((each) => backOf(accountOf(each), each.count));
    for (const back of backs) refusals.delete(back.key);
    await counting.giveBack(tx, backs);
  };

  return {
    spend: async (...request) => void (await spend(...request)),
    giveBack: giveBackTo,
    met: () => met,
    attempt: openAttempts({ spend, giveBack: giveBackTo }, database.db),
  };
}

/** What an instance knows to be used up. */
type Refusals = QuickLRU<string, { balance: Balance; at: number }>;

interface ExactCount extends Pick<LimitsOptions, "now"> {
  counting: ReturnType<typeof openCounting>;
  db: Db;
  refusals: Refusals;
}

/** Counts against all of the given limits, or against none of them. */
function openExactCount({ counting, db, refusals, now }: ExactCount) {
  const refusalsOf = (accounts: Account[]): Balance[] =>
    accounts.flatMap((account) => {
      const known = refusals.get(account.key);
      const age = now().getTime() - (known?.at ?? 0);
      return known && age >= 0 && age < REFUSED_MS ? [known.balance] : [];
    });

  return async (accounts: Account[]): Promise<Balance[]> => {
    const known = refusalsOf(accounts);
    if (known.length > 0) return known;
    const wants = accounts.map((account) => backOf(account, 1));
    const counts = await counting.take(wants);
    const balances = accounts.map((account) => balanceOf(account, counts.get(account.key)));
    if (balances.every(({ isGranted }) => isGranted)) return balances;
    const granted = accounts.filter((_, at) => balances[at]?.isGranted);
    if (granted.length > 0)
      await counting.giveBack(
        db,
        granted.map((account) => backOf(account, 1)),
      );
    const at = now().getTime();
    for (const [index, balance] of balances.entries())
      if (!balance.isGranted) refusals.set(accounts[index]?.key ?? "", { balance, at });
    return balances.map((each) => (each.isGranted ? { ...each, left: each.left + 1 } : each));
  };
}

/** The spendings to try next, where every refused one has something else to count against. */
function otherwise(spendings: Spending[], balances: Balance[]): Spending[] | undefined {
  const refused = balances.filter(({ isGranted }) => !isGranted).map(({ limit }) => limit);
  const isRefused = ({ limit }: Spending) => refused.includes(limit);
  const canGoOn = spendings.filter(isRefused).every((each) => each.otherwise !== undefined);
  if (refused.length === 0 || !canGoOn) return undefined;
  return spendings.map((each) =>
    isRefused(each) ? { ...each, who: each.otherwise ?? each.who } : each,
  );
}

const backOf = ({ key, policy }: Account, count: number) => ({ ...policy, key, count });

const openAttempts =
  ({ spend, giveBack: giveBackTo }: Attempting, db: Db): Limits["attempt"] =>
  async (ledger, spendings, work) => {
    const spent = await spend(ledger, spendings);
    try {
      return await work();
    } catch (error) {
      const backs = spent.map((each) => ({ ...each, count: 1 }));
      // Where the database is away this fails as the work did: the work's failure is the one to tell.
      if (!isJudged(error)) await Promise.allSettled([giveBackTo(db, backs)]);
      throw error;
    }
  };

const nothing: Count = { spent: 0, granted: 0, refillInSeconds: 1 };

function balanceOf(
  { limit, policy }: Pick<Balance, "limit" | "policy">,
  { spent, granted, refillInSeconds }: Count = nothing,
): Balance {
  return {
    limit,
    policy,
    left: Math.max(0, policy.quota - spent),
    refillInSeconds,
    isGranted: granted > 0,
  };
}

function refuseBy(balances: Balance[], met: Record<string, number>): void {
  const refused = balances.find(({ isGranted }) => !isGranted);
  if (!refused) return;
  const { limit, refillInSeconds } = refused;
  met[limit] = (met[limit] ?? 0) + 1;
  throw new Problem("too_many_requests", {
    detail: `The limit "${limit}" is met; there is more in ${refillInSeconds} seconds`,
  });
}
