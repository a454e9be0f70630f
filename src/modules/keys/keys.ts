import { and, asc, eq, inArray, lt, sql } from "drizzle-orm";
import type { Ctx } from "../../ctx.ts";
import type { Db } from "../../db/db.ts";
import { advisoryLocks } from "../../db/locks.ts";
import { signingKeys } from "../../db/schema.ts";
import type { StoredKey } from "../../kit/key-ring.ts";
import { Problem } from "../../kit/problem.ts";

type Keeper = Pick<Ctx, "db" | "keyRing" | "log" | "now">;

/** A key pair, and since when it is what it is. */
export interface SigningKey extends StoredKey {
  createdAt: Date;
  changedAt: Date;
}

/** As long as the longest token may be good: until then a key that signs no more still verifies. */
const RETIRED_MS = 25 * 3_600_000;

/** Every key pair, the oldest first. */
export const listKeys = ({ db }: Pick<Ctx, "db">): Promise<SigningKey[]> =>
  db
    .select()
    .from(signingKeys)
    .orderBy(asc(signingKeys.createdAt), asc(signingKeys.kid)) as Promise<SigningKey[]>;

/** Takes in what other instances, and commands, have done to the keys. */
export async function readKeys(ctx: Keeper): Promise<void> {
  if (!ctx.keyRing.learn(await listKeys(ctx))) ctx.log.error({}, FOREIGN);
}

const FOREIGN =
  "The current signing key was made under another SECRET_KEY: an older key goes on signing, for a day at most. Give all instances the same SECRET_KEY, and list the other one in SECRET_KEYS.";

/**
 * Makes sure that there is a key to sign with and a next one, and that all of them are wrapped under today's secret: the
 * one before may then be dropped. A current key that cannot be opened is retired, and still verifies.
 */
export async function prepareKeys(ctx: Keeper): Promise<void> {
  await alone(ctx, async (within) => {
    const keys = await listKeys(within);
    for (const key of keys) {
      const again = ctx.keyRing.rewrapped(key);
      if (again) await change(within, again);
    }
    if (ctx.keyRing.algorithm !== "HS256") await fill(within, keys);
  });
  await readKeys(ctx);
}

/**
 * Lets the next key sign, and makes another next one. Everybody who verifies has seen it for long: nobody is signed out.
 * Throws `not_found` under HS256, where SECRET_KEY signs.
 */
export async function rotateKeys(ctx: Keeper): Promise<void> {
  const { algorithm } = ctx.keyRing;
  if (algorithm === "HS256") throw new Problem("not_found", { detail: HS256 });
  await alone(ctx, async (within) => {
    await fill(within, await listKeys(within));
    const keys = (await listKeys(within)).filter((key) => key.algorithm === algorithm);
    for (const key of keys) {
      if (key.state === "current") await change(within, { ...key, state: "retired" });
      if (key.state === "next") await change(within, { ...key, state: "current" });
    }
    await add(within, "next");
  });
  await readKeys(ctx);
}
const HS256 =
  "Under ALGORITHM=HS256 there is no key pair: SECRET_KEY signs. To change it, see docs/keys.md";

/** Refuses from now on what this key has signed. Throws `not_found`, and `key_in_use` for the one that signs. */
export async function retireKey(ctx: Keeper, kid: string): Promise<void> {
  await alone(ctx, async (within) => {
    const key = (await listKeys(within)).find((one) => one.kid === kid);
    if (!key) throw new Problem("not_found", { detail: "There is no such key" });
    // Whatever algorithm the command was given: the servers may have been given another.
    if (key.state === "current") throw new Problem("key_in_use");
    await within.db.delete(signingKeys).where(eq(signingKeys.kid, kid));
    await fill(within, await listKeys(within));
  });
  await readKeys(ctx);
}

/** Removes keys of which no token can be good any more, and takes in what has changed. Answers 0: there is no more to do. */
export async function tendKeys(ctx: Keeper): Promise<number> {
  const before = new Date(ctx.now().getTime() - RETIRED_MS);
  await ctx.db
    .delete(signingKeys)
    .where(and(eq(signingKeys.state, "retired"), lt(signingKeys.changedAt, before)));
  await readKeys(ctx);
  return 0;
}

/** One of many instances and commands at a time. */
const alone = (ctx: Keeper, work: (within: Keeper) => Promise<void>): Promise<void> =>
  ctx.db.transaction(async (tx) => {
    await tx.execute(sql`select pg_advisory_xact_lock(${advisoryLocks.signingKeys})`);
    await work({ ...ctx, db: tx as Db });
  });

async function fill(ctx: Keeper, keys: SigningKey[]): Promise<void> {
  const { algorithm, isOpen } = ctx.keyRing;
  const ours = keys.filter((key) => key.algorithm === algorithm && key.state !== "retired");
  const lost = ours.filter((key) => !isOpen(key)).map(({ kid }) => kid);
  if (lost.length > 0)
    await ctx.db
      .update(signingKeys)
      .set({ state: "retired", changedAt: ctx.now() })
      .where(inArray(signingKeys.kid, lost));
  for (const state of ["current", "next"] as const)
    if (!ours.some((key) => key.state === state && !lost.includes(key.kid))) await add(ctx, state);
}

async function add(ctx: Keeper, state: "current" | "next"): Promise<void> {
  const { algorithm, make } = ctx.keyRing;
  if (algorithm === "HS256") return;
  const now = ctx.now();
  await ctx.db
    .insert(signingKeys)
    .values({ ...make(algorithm, state), createdAt: now, changedAt: now });
}

async function change(ctx: Keeper, { kid, state, wrapped, wrappedBy }: StoredKey): Promise<void> {
  const set = { state, wrapped, wrappedBy };
  const changedAt = sql`case when ${signingKeys.state} = ${state} then ${signingKeys.changedAt} else ${ctx.now().toISOString()}::timestamptz end`;
  await ctx.db
    .update(signingKeys)
    .set({ ...set, changedAt })
    .where(eq(signingKeys.kid, kid));
}
