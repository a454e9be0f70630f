import { createHmac } from "node:crypto";
import QuickLRU from "quick-lru";
import type { Database, Db } from "../db/db.ts";
import { Problem } from "../kit/problem.ts";
import type { ProblemCode } from "../kit/problem-codes.ts";
import { openBatches } from "./batches.ts";
import { openCounters } from "./counters.ts";
import type {
  Count,
  LimitName,
  LimitReport,
  LimitState,
  LimitUse,
  Policies,
  Policy,
} from "./policies.ts";
import type { SharedMemory } from "./shared-memory.ts";

export interface LimiterOptions {
  /** False: nothing is limited. */
  isOn: boolean;
  policies: Policies;
  database: Pick<Database, "db" | "sql">;
  shared: SharedMemory;
  /** Makes fingerprints of who is counted: people write passwords into the wrong field. */
  key: Buffer;
  now: () => Date;
}

export interface Limiter {
  /**
   * Takes one from each limit, and tells the ledger what is left. Throws `too_many_requests` where one has nothing left;
   * then nothing is taken from the others. What is counted in lumps is spent alone.
   */
  consume: (report: LimitReport | undefined, uses: LimitUse[]) => Promise<void>;
  /**
   * The same, and then the work that it is spent for. Spent before the work is done: of many tries at once no more get
   * through. Where the work could not be done, because the service was busy or the database away, it counts nowhere.
   */
  attempt: <T>(
    report: LimitReport | undefined,
    uses: LimitUse[],
    work: () => Promise<T>,
  ) => Promise<T>;
  /** Gives back what was spent and should not count, in the caller's transaction: so many, or `ALL`. */
  refund: (db: Db, uses: (LimitUse & { count: number })[]) => Promise<void>;
  /** How often each limit was met, since the start. */
  met: () => Record<string, number>;
}
/** A refusal that says nothing of what was asked: the same may pass the next time. */
const unjudged = new Set<ProblemCode>(["busy", "database_unavailable", "internal"]);
const isJudged = (error: unknown) => error instanceof Problem && !unjudged.has(error.code);

const inBatches = new Set<LimitName>(["requests", "requests-stranger"]);
const REMEMBERED = 20_000;
/** For how long an instance refuses by what it remembers, before it asks again. */
const REFUSED_MS = 1_000;
const FINGERPRINT_BYTES = 16;

/** Answers what was spent. */
type Consume = (report: LimitReport | undefined, uses: LimitUse[]) => Promise<LimitUse[]>;
interface Attempting extends Pick<Limiter, "refund"> {
  consume: Consume;
}

interface Account {
  limit: LimitName;
  policy: Policy;
  key: string;
}

const accountsBy =
  (policies: Policies, secret: Buffer) =>
  ({ limit, who }: LimitUse): Account => {
    const mac = createHmac("sha256", secret).update(`${limit} ${who}`).digest();
    const key = mac.subarray(0, FINGERPRINT_BYTES).toString("hex");
    return { limit, policy: policies[limit], key };
  };

/** Counts for all instances together: all limits of a request in one statement, which also decides who was first. */
export function openLimiter({
  isOn,
  policies,
  database,
  shared,
  key,
  now,
}: LimiterOptions): Limiter {
  const counting = openCounters(database, shared, now);
  const refusals: Refusals = new QuickLRU({ maxSize: REMEMBERED / 2 });
  const met: Record<string, number> = {};
  const consumeFromBatch = openBatches({
    take: async (use, count) => {
      const { policy, key: fingerprint } = accountOf(use);
      const counts = await counting.take([{ ...policy, key: fingerprint, count }]);
      return counts.get(fingerprint) ?? nothing;
    },
    now,
    size: REMEMBERED,
  });

  const accountOf = accountsBy(policies, key);

  const consumeExactly = openExactCount({ counting, db: database.db, refusals, now });

  const take = async (uses: LimitUse[]): Promise<LimitState[]> => {
    const [one] = uses;
    return one && inBatches.has(one.limit)
      ? [await consumeFromBatch({ ...one, policy: policies[one.limit] })]
      : consumeExactly(uses.map(accountOf));
  };

  const consume: Consume = async (report, uses) => {
    if (!isOn || !report || uses.length === 0) return [];
    const stray = uses.find(({ limit }) => !report.limits.includes(limit));
    if (stray) throw new Error(`limits: the route does not declare ${stray.limit}`);
    if (uses.some(({ limit }) => inBatches.has(limit)) && uses.length > 1)
      throw new Error("limits: what is counted in lumps is spent alone");
    const first = await take(uses);
    const others = otherwise(uses, first);
    const states = others ? await take(others) : first;
    report.tell(states);
    refuseBy(states, met);
    return others ?? uses;
  };

  const refundTo: Limiter["refund"] = async (tx, uses) => {
    if (!isOn) return;
    const backs = uses.map((each) => backOf(accountOf(each), each.count));
    for (const back of backs) refusals.delete(back.key);
    await counting.refund(tx, backs);
  };

  return {
    consume: async (...request) => void (await consume(...request)),
    refund: refundTo,
    met: () => met,
    attempt: openAttempts({ consume, refund: refundTo }, database.db),
  };
}

/** What an instance knows to be used up. */
type Refusals = QuickLRU<string, { balance: LimitState; at: number }>;

interface ExactCount extends Pick<LimiterOptions, "now"> {
  counting: ReturnType<typeof openCounters>;
  db: Db;
  refusals: Refusals;
}

/** Counts against all of the given limits, or against none of them. */
function openExactCount({ counting, db, refusals, now }: ExactCount) {
  const refusalsOf = (accounts: Account[]): LimitState[] =>
    accounts.flatMap((account) => {
      const known = refusals.get(account.key);
      const age = now().getTime() - (known?.at ?? 0);
      return known && age >= 0 && age < REFUSED_MS ? [known.balance] : [];
    });

  return async (accounts: Account[]): Promise<LimitState[]> => {
    const known = refusalsOf(accounts);
    if (known.length > 0) return known;
    const wants = accounts.map((account) => backOf(account, 1));
    const counts = await counting.take(wants);
    const states = accounts.map((account) => balanceOf(account, counts.get(account.key)));
    if (states.every(({ isGranted }) => isGranted)) return states;
    const granted = accounts.filter((_, at) => states[at]?.isGranted);
    if (granted.length > 0)
      await counting.refund(
        db,
        granted.map((account) => backOf(account, 1)),
      );
    const at = now().getTime();
    for (const [index, balance] of states.entries())
      if (!balance.isGranted) refusals.set(accounts[index]?.key ?? "", { balance, at });
    return states.map((each) => (each.isGranted ? { ...each, left: each.left + 1 } : each));
  };
}

/** The spendings to try next, where every refused one has something else to count against. */
function otherwise(uses: LimitUse[], states: LimitState[]): LimitUse[] | undefined {
  const refused = states.filter(({ isGranted }) => !isGranted).map(({ limit }) => limit);
  const isRefused = ({ limit }: LimitUse) => refused.includes(limit);
  const canGoOn = uses.filter(isRefused).every((each) => each.otherwise !== undefined);
  if (refused.length === 0 || !canGoOn) return undefined;
  return uses.map((each) =>
    isRefused(each) ? { ...each, who: each.otherwise ?? each.who } : each,
  );
}

const backOf = ({ key, policy }: Account, count: number) => ({ ...policy, key, count });

const openAttempts =
  ({ consume, refund: refundTo }: Attempting, db: Db): Limiter["attempt"] =>
  async (report, uses, work) => {
    const spent = await consume(report, uses);
    try {
      return await work();
    } catch (error) {
      const backs = spent.map((each) => ({ ...each, count: 1 }));
      // Where the database is away this fails as the work did: the work's failure is the one to tell.
      if (!isJudged(error)) await Promise.allSettled([refundTo(db, backs)]);
      throw error;
    }
  };

const nothing: Count = { spent: 0, granted: 0, refillInSeconds: 1 };

function balanceOf(
  { limit, policy }: Pick<LimitState, "limit" | "policy">,
  { spent, granted, refillInSeconds }: Count = nothing,
): LimitState {
  return {
    limit,
    policy,
    left: Math.max(0, policy.quota - spent),
    refillInSeconds,
    isGranted: granted > 0,
  };
}

function refuseBy(states: LimitState[], met: Record<string, number>): void {
  const refused = states.find(({ isGranted }) => !isGranted);
  if (!refused) return;
  const { limit, refillInSeconds } = refused;
  met[limit] = (met[limit] ?? 0) + 1;
  throw new Problem("too_many_requests", {
    detail: `The limit "${limit}" is met; there is more in ${refillInSeconds} seconds`,
  });
}
