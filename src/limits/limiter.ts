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
import type { SharedStore } from "./shared-store.ts";

export interface LimiterOptions {
  /** False turns all limits off. */
  isOn: boolean;
  policies: Policies;
  database: Pick<Database, "db" | "sql">;
  sharedStore: SharedStore;
  /** Makes fingerprints of keys, because users sometimes type a password into the wrong field. */
  key: Buffer;
  now: () => Date;
}

export interface Limiter {
  /**
   * Consumes one request from each limit, and reports what remains. Throws `too_many_requests`, and
   * consumes nothing, if one has nothing remaining. A limit counted in batches must be alone.
   */
  consume: (report: LimitReport | undefined, uses: LimitUse[]) => Promise<void>;
  /**
   * Consumes, then does `work`, so that concurrent requests cannot exceed the limit. Refunds if the
   * work failed for a reason other than a refusal.
   */
  attempt: <T>(
    report: LimitReport | undefined,
    uses: LimitUse[],
    work: () => Promise<T>,
  ) => Promise<T>;
  /** Refunds `count` requests, or `ALL`, in the caller's transaction. */
  refund: (db: Db, uses: (LimitUse & { count: number })[]) => Promise<void>;
  /** How many requests each limit refused since the start. */
  refused: () => Record<string, number>;
}

/** Failures of the service, not of the request: a retry may succeed. */
const serviceFailures = new Set<ProblemCode>(["busy", "database_unavailable", "internal"]);
const isRefusal = (error: unknown) => error instanceof Problem && !serviceFailures.has(error.code);

const inBatches = new Set<LimitName>(["requests", "requests-anonymous"]);
const KEYS_MAX = 20_000;
/** How long an instance refuses a key from memory, before it asks the counters again. */
const REFUSED_MS = 1_000;
const FINGERPRINT_BYTES = 16;

interface KeyedUse {
  limit: LimitName;
  policy: Policy;
  key: string;
}

/**
 * Opens the rate limiter. All instances share its counters. PostgreSQL and Redis each count their
 * limits of a request in one step, which decides between concurrent requests.
 */
export function openLimiter(options: LimiterOptions): Limiter {
  const { isOn, policies, now } = options;
  const { db } = options.database;
  const counters = openCounters(options.database, options.sharedStore, now);
  const refusals: Refusals = new QuickLRU({ maxSize: KEYS_MAX / 2 });
  const refused: Record<string, number> = {};

  const keyed = ({ limit, who }: LimitUse): KeyedUse => {
    const mac = createHmac("sha256", options.key).update(`${limit} ${who}`).digest();
    const key = mac.subarray(0, FINGERPRINT_BYTES).toString("hex");
    return { limit, policy: policies[limit], key };
  };
  const consumeFromBatch = openBatches({
    consume: async (use, count) => {
      const { policy, key } = keyed(use);
      const counts = await counters.consume([{ ...policy, key, count }]);
      return counts.get(key) ?? NOTHING;
    },
    now,
    size: KEYS_MAX,
  });
  const consumeExactly = openExactCount({ counters, db, refusals, now });
  const consumeOnce = async (uses: LimitUse[]): Promise<LimitState[]> => {
    const [one] = uses;
    return one && inBatches.has(one.limit)
      ? [await consumeFromBatch({ ...one, policy: policies[one.limit] })]
      : consumeExactly(uses.map(keyed));
  };

  /** Returns the uses that it consumed. */
  const consume = async (report: LimitReport | undefined, uses: LimitUse[]) => {
    if (!isOn || !report || uses.length === 0) return [];
    refuseUndeclared(report, uses);
    const first = await consumeOnce(uses);
    const fallbacks = fallbacksOf(uses, first);
    const states = fallbacks ? await consumeOnce(fallbacks) : first;
    report.addStates(states);
    refuseBy(states, refused);
    return fallbacks ?? uses;
  };
  const refund: Limiter["refund"] = async (tx, uses) => {
    if (!isOn) return;
    const refunds = uses.map((each) => countOf(keyed(each), each.count));
    for (const each of refunds) refusals.delete(each.key);
    await counters.refund(tx, refunds);
  };
  const attempt: Limiter["attempt"] = async (report, uses, work) => {
    const consumed = await consume(report, uses);
    try {
      return await work();
    } catch (error) {
      const refunds = consumed.map((each) => ({ ...each, count: 1 }));
      // If the database is unavailable, the refund fails too: throw the error of the work.
      if (!isRefusal(error)) await Promise.allSettled([refund(db, refunds)]);
      throw error;
    }
  };
  return {
    consume: async (...request) => void (await consume(...request)),
    attempt,
    refund,
    refused: () => refused,
  };
}

/** Throws an Error for a mistake in the code of a route. */
function refuseUndeclared({ limits }: LimitReport, uses: LimitUse[]): void {
  const undeclared = uses.find(({ limit }) => !limits.includes(limit));
  if (undeclared) throw new Error(`limits: the route does not declare ${undeclared.limit}`);
  if (uses.some(({ limit }) => inBatches.has(limit)) && uses.length > 1)
    throw new Error("limits: a limit that is counted in batches is consumed alone");
}

/** The keys that this instance knows to have nothing remaining. */
type Refusals = QuickLRU<string, { state: LimitState; at: number }>;

interface ExactCount extends Pick<LimiterOptions, "now"> {
  counters: ReturnType<typeof openCounters>;
  db: Db;
  refusals: Refusals;
}

/** Consumes from all of the given limits, or from none of them. */
function openExactCount({ counters, db, refusals, now }: ExactCount) {
  const refusalsOf = (uses: KeyedUse[]): LimitState[] =>
    uses.flatMap(({ key }) => {
      const known = refusals.get(key);
      const age = now().getTime() - (known?.at ?? 0);
      return known && age >= 0 && age < REFUSED_MS ? [known.state] : [];
    });

  return async (uses: KeyedUse[]): Promise<LimitState[]> => {
    const known = refusalsOf(uses);
    if (known.length > 0) return known;
    const counts = await counters.consume(uses.map((use) => countOf(use, 1)));
    const states = uses.map((use) => stateOf(use, counts.get(use.key)));
    if (states.every(({ isGranted }) => isGranted)) return states;
    const granted = uses.filter((_, index) => states[index]?.isGranted);
    if (granted.length > 0)
      await counters.refund(
        db,
        granted.map((use) => countOf(use, 1)),
      );
    const at = now().getTime();
    for (const [index, state] of states.entries())
      if (!state.isGranted) refusals.set(uses[index]?.key ?? "", { state, at });
    return states.map((state) =>
      state.isGranted ? { ...state, remaining: state.remaining + 1 } : state,
    );
  };
}

/** The uses to try next, if every refused use has a fallback. */
function fallbacksOf(uses: LimitUse[], states: LimitState[]): LimitUse[] | undefined {
  const refused = states.filter(({ isGranted }) => !isGranted).map(({ limit }) => limit);
  const isRefused = ({ limit }: LimitUse) => refused.includes(limit);
  const hasFallbacks = uses.filter(isRefused).every(({ fallback }) => fallback !== undefined);
  if (refused.length === 0 || !hasFallbacks) return undefined;
  return uses.map((each) => (isRefused(each) ? { ...each, who: each.fallback ?? each.who } : each));
}

const countOf = ({ key, policy }: KeyedUse, count: number) => ({ ...policy, key, count });

const NOTHING: Count = { spent: 0, granted: 0, refillInSeconds: 1 };

function stateOf(
  { limit, policy }: Pick<LimitState, "limit" | "policy">,
  { spent, granted, refillInSeconds }: Count = NOTHING,
): LimitState {
  return {
    limit,
    policy,
    remaining: Math.max(0, policy.quota - spent),
    refillInSeconds,
    isGranted: granted > 0,
  };
}

/** Throws `too_many_requests` if a limit has nothing remaining, and counts it in `refused`. */
function refuseBy(states: LimitState[], refused: Record<string, number>): void {
  const first = states.find(({ isGranted }) => !isGranted);
  if (!first) return;
  const { limit, refillInSeconds } = first;
  refused[limit] = (refused[limit] ?? 0) + 1;
  throw new Problem("too_many_requests", {
    detail: `Rate limit "${limit}" reached. Retry in ${refillInSeconds} s`,
  });
}
