import { createHmac } from "node:crypto";
import QuickLRU from "quick-lru";
import type { Balance, Ledger, LimitName, Policies, Spending } from "../../kit/limits.ts";
import { Problem } from "../../kit/problem.ts";
import type { Database, Db } from "../db.ts";
import { type Count, giveBack, take } from "./counts.ts";
import { openLumps } from "./lumps.ts";

export interface LimitsOptions {
  /** False: nothing is limited. */
  isOn: boolean;
  policies: Policies;
  database: Pick<Database, "db" | "sql">;
  /** Makes fingerprints of who is counted: people write passwords into the wrong field. */
  key: Buffer;
  now: () => Date;
}

export interface Limits {
  /**
   * Takes one from each limit, and tells the ledger what is left. Throws `too_many_requests` where one has nothing left;
   * then nothing is taken from the others.
   */
  spend: (ledger: Ledger | undefined, spendings: Spending[]) => Promise<void>;
  /** Gives back what was spent and should not count, in the caller's transaction: so many, or `ALL`. */
  giveBack: (db: Db, spendings: (Spending & { count: number })[]) => Promise<void>;
}
export const ALL = 2 ** 31 - 1;

const inLumps = new Set<LimitName>(["requests", "requests-stranger"]);
const REMEMBERED = 20_000;
/** For how long an instance refuses by what it remembers, before it asks again. */
const REFUSED_MS = 1_000;
const FINGERPRINT_BYTES = 16;

/** Counts in PostgreSQL, for all instances together: all limits of a request in one statement, which also decides who was first. */
export function openLimits({ isOn, policies, database, key, now }: LimitsOptions): Limits {
  const refusals = new QuickLRU<string, { balance: Balance; at: number }>({
    maxSize: REMEMBERED / 2,
  });
  const spendOfLump = openLumps({
    take: async (spending, count) => {
      const { policy, key: fingerprint } = accountOf(spending);
      const counts = await take(database.sql, [{ ...policy, key: fingerprint, count }], now());
      return counts.get(fingerprint) ?? nothing;
    },
    now,
    size: REMEMBERED,
  });

  const accountOf = ({ limit, who }: Spending) => {
    const mac = createHmac("sha256", key).update(`${limit} ${who}`).digest();
    const fingerprint = mac.subarray(0, FINGERPRINT_BYTES).toString("hex");
    return { limit, policy: policies[limit], key: fingerprint };
  };
  type Account = ReturnType<typeof accountOf>;

  const refusalsOf = (accounts: Account[]): Balance[] =>
    accounts.flatMap((account) => {
      const known = refusals.get(account.key);
      const age = now().getTime() - (known?.at ?? 0);
      return known && age >= 0 && age < REFUSED_MS ? [known.balance] : [];
    });

  const spendExactly = async (accounts: Account[]): Promise<Balance[]> => {
    const known = refusalsOf(accounts);
    if (known.length > 0) return known;
    const wants = accounts.map((account) => ({ ...account.policy, key: account.key, count: 1 }));
    const counts = await take(database.sql, wants, now());
    const balances = accounts.map((account) => balanceOf(account, counts.get(account.key)));
    if (balances.every(({ isGranted }) => isGranted)) return balances;
    const granted = accounts.filter((_, at) => balances[at]?.isGranted);
    if (granted.length > 0)
      await giveBack(
        database.db,
        granted.map((account) => ({ key: account.key, count: 1 })),
      );
    const at = now().getTime();
    for (const [index, balance] of balances.entries())
      if (!balance.isGranted) refusals.set(accounts[index]?.key ?? "", { balance, at });
    return balances;
  };

  return {
    spend: async (ledger, spendings) => {
      const [first] = spendings;
      if (!isOn || !ledger || !first) return;
      const stray = spendings.find(({ limit }) => !ledger.limits.includes(limit));
      if (stray) throw new Error(`limits: the route does not declare ${stray.limit}`);
      const balances = inLumps.has(first.limit)
        ? [await spendOfLump({ ...first, policy: policies[first.limit] })]
        : await spendExactly(spendings.map(accountOf));
      ledger.tell(balances);
      refuseBy(balances);
    },
    giveBack: async (tx, spendings) => {
      if (!isOn) return;
      const backs = spendings.map((each) => ({ key: accountOf(each).key, count: each.count }));
      for (const back of backs) refusals.delete(back.key);
      await giveBack(tx, backs);
    },
  };
}

const nothing: Count = { spent: 0, granted: 0, refillInSeconds: 1 };

function balanceOf(
  { limit, policy }: Pick<Balance, "limit" | "policy">,
  { spent, granted, refillInSeconds }: Count = nothing,
): Balance {
  return { limit, policy, left: policy.quota - spent, refillInSeconds, isGranted: granted > 0 };
}

function refuseBy(balances: Balance[]): void {
  const refused = balances.find(({ isGranted }) => !isGranted);
  if (!refused) return;
  const { limit, refillInSeconds } = refused;
  throw new Problem("too_many_requests", {
    detail: `The limit "${limit}" is met; there is more in ${refillInSeconds} seconds`,
  });
}
