import { setTimeout as sleep } from "node:timers/promises";
import { and, asc, eq, lt, lte, not, sql } from "drizzle-orm";
import type { KeyRing, KeyUse, StoredKey } from "../../credentials/key-ring.ts";
import type { Actor, Ctx } from "../../ctx.ts";
import { isUnwritable } from "../../db/failures.ts";
import { advisoryLocks } from "../../db/locks.ts";
import { transaction } from "../../db/transaction.ts";
import { Problem } from "../../kit/problem.ts";
import { record } from "../events/events.ts";
import { keyUses, signingKeys } from "./tables.ts";

/** A server process, which signs: a command only reads and changes the keys. */
type Signer = Ctx;

/** A key pair, and since when it is what it is. */
export interface SigningKey extends StoredKey {
  createdAt: Date;
  changedAt: Date;
}

/** How long those who verify our tokens may keep the keys that they have read. */
export const PUBLISHED_SECONDS = 300;
/** Longer than any access token may be valid. */
const RETIRED_MS = 25 * 3_600_000;

/** Every key pair, the oldest first. */
export const listKeys = ({ db }: Ctx): Promise<SigningKey[]> =>
  db
    .select()
    .from(signingKeys)
    .orderBy(asc(signingKeys.createdAt), asc(signingKeys.kid)) as Promise<SigningKey[]>;

/** Takes in what other instances, and commands, have done to the keys. Answers until when each is accepted. */
async function readKeys(ctx: Ctx): Promise<KeyUse[]> {
  const uses = await listUses(ctx);
  if (!ctx.keyRing.learn(await listKeys(ctx), uses)) ctx.log.error({}, FOREIGN);
  return uses;
}

/** A time that lies further ahead than any token's was written by an instance with a wrong clock. */
const listUses = ({ db, now }: Ctx): Promise<KeyUse[]> =>
  db
    .select()
    .from(keyUses)
    .where(lte(keyUses.acceptedUntil, latestUse(now())));
const latestUse = (now: Date) => new Date(now.getTime() + RETIRED_MS);

/** How much longer than its last token a key is accepted at most, and how much at least while an instance signs with it. */
const USE_SPARE_MS = { max: 120_000, min: 60_000 };

/**
 * Tells all instances until when they must accept the key that signs here. They refuse a key once its last token has expired,
 * whatever the token says of its time: whoever has an old SECRET_KEY could sign with it for ever.
 */
async function recordUse(ctx: Signer, uses: KeyUse[]): Promise<void> {
  const kid = ctx.keyRing.signingKid();
  if (kid === undefined) return;
  const lastExpiry = ctx.now().getTime() + ctx.tokens.lifetimeSeconds * 1000;
  const recorded = uses.find((use) => use.kid === kid)?.acceptedUntil.getTime() ?? 0;
  if (recorded >= lastExpiry + USE_SPARE_MS.min) return;
  const acceptedUntil = new Date(lastExpiry + USE_SPARE_MS.max);
  const latest = latestUse(ctx.now()).toISOString();
  // Another instance may issue tokens that live longer.
  const later = sql`case when ${keyUses.acceptedUntil} > ${latest}::timestamptz then excluded.accepted_until else greatest(${keyUses.acceptedUntil}, excluded.accepted_until) end`;
  try {
    await ctx.db
      .insert(keyUses)
      .values({ kid, acceptedUntil })
      .onConflictDoUpdate({ target: keyUses.kid, set: { acceptedUntil: later } });
  } catch (error) {
    // No session starts or continues then. The next look records it.
    if (!isUnwritable(error)) throw error;
  }
}

const FOREIGN =
  "The current signing key is not one that can be used here, because it was made under another SECRET_KEY or for another ALGORITHM: an older key goes on signing for some hours, then a new one is made. Give all instances the same settings, and list the other key in SECRET_KEYS.";

/**
 * Makes sure that there is a key to sign with and a next one, and that all of them are wrapped under today's secret: the
 * one before may then be dropped. A current key that cannot be opened is retired, and so are those of an algorithm that is
 * not used any more; they verify until their last tokens expire.
 */
export async function prepareKeys(ctx: Signer): Promise<void> {
  await alone(ctx, async (within) => {
    for (const key of await listKeys(within)) {
      const again = ctx.keyRing.rewrapped(key) ?? key;
      const state = key.algorithm === ctx.keyRing.algorithm ? key.state : "retired";
      if (again !== key || state !== key.state) await change(within, { ...again, state });
    }
    await fill(within, await listKeys(within));
  });
  await recordUse(ctx, await readKeys(ctx));
}

/** How long a key is published before it signs: those who verify may keep what they have read for half of it. */
const PUBLISHED_MS = 2 * PUBLISHED_SECONDS * 1000;

/**
 * Lets the next key sign, and makes another next one. Everybody who verifies has seen it for long: nobody is signed out.
 * Throws `next_key_too_new` where that is not so yet, unless `isUrgent`, because a key has leaked. Throws `not_found` under
 * HS256, where SECRET_KEY signs, and `other_secret_key`.
 */
export async function rotateKeys(ctx: Ctx, actor: Actor, { isUrgent = false } = {}): Promise<void> {
  const { algorithm } = ctx.keyRing;
  if (algorithm === "HS256") throw new Problem("not_found", { detail: HS256 });
  await alone(ctx, async (within) => {
    refuseForeign(within, await listKeys(within));
    await fill(within, await listKeys(within));
    const keys = (await listKeys(within)).filter((key) => key.algorithm === algorithm);
    const current = keys.find(({ state }) => state === "current");
    const next = keys.find(({ state }) => state === "next");
    const age = ctx.now().getTime() - (next?.changedAt.getTime() ?? 0);
    if (!isUrgent && age < PUBLISHED_MS) throw new Problem("next_key_too_new");
    if (current) await change(within, { ...current, state: "retired" });
    if (next) await change(within, { ...next, state: "current" });
    await add(within, "next");
    const data = { kid: next?.kid ?? "" };
    await record(within, actor, { type: "key.rotated", subjectId: null, data });
  });
  await readKeys(ctx);
}
const HS256 =
  "Under ALGORITHM=HS256 there is no key pair: SECRET_KEY signs. To change it, see docs/keys.md";

/**
 * Refuses from now on what this key has signed. Throws `not_found`, `other_secret_key`, and `key_in_use` for the one that
 * signs.
 */
export async function retireKey(ctx: Ctx, actor: Actor, kid: string): Promise<void> {
  await alone(ctx, async (within) => {
    const keys = await listKeys(within);
    refuseForeign(within, keys);
    const key = keys.find((one) => one.kid === kid);
    if (!key) throw new Problem("not_found", { detail: "There is no such key" });
    // Whatever algorithm the command was given: the servers may have been given another.
    if (key.state === "current") throw new Problem("key_in_use");
    await within.db.delete(signingKeys).where(eq(signingKeys.kid, kid));
    await fill(within, await listKeys(within));
    await record(within, actor, { type: "key.retired", subjectId: null, data: { kid } });
  });
  await readKeys(ctx);
}

/** A key made under a secret that the servers do not have is one that none of them can sign with. */
function refuseForeign({ keyRing }: Ctx, keys: SigningKey[]): void {
  const isForeign = (key: SigningKey) => key.state !== "retired" && !keyRing.isOpen(key);
  if (keys.some(isForeign)) throw new Problem("other_secret_key");
}

/** For so long an instance goes on with a key that somebody else has retired, before it makes another. */
const ADRIFT_MS = 12 * 3_600_000;

/**
 * Removes keys of which no token can be good any more, takes in what has changed, and mends what an instance with other
 * settings has broken: nobody is left without a key to sign with. Answers 0: there is no more to do.
 */
export async function tendKeys(ctx: Signer): Promise<number> {
  const now = ctx.now().getTime();
  // The read comes first: it also works while the database can only be read.
  await recordUse(ctx, await readKeys(ctx));
  await purgeKeys(ctx, new Date(now - RETIRED_MS));
  if (ctx.keyRing.algorithm === "HS256") return 0;
  const keys = (await listKeys(ctx)).filter((key) => key.algorithm === ctx.keyRing.algorithm);
  const signing = keys.find(({ kid }) => kid === ctx.keyRing.signingKid());
  const hasNext = keys.some(({ state }) => state === "next");
  const isWell =
    signing?.state === "retired" ? now - signing.changedAt.getTime() < ADRIFT_MS : hasNext;
  if (!signing || !isWell) await prepareKeys(ctx);
  return 0;
}

/** An instance that could not take in a change may have signed with a key that was retired long ago. */
async function purgeKeys({ db }: Ctx, before: Date): Promise<void> {
  const isUsed = sql`exists (select 1 from ${keyUses} where ${keyUses.kid} = ${signingKeys.kid})`;
  await db.delete(keyUses).where(lt(keyUses.acceptedUntil, before));
  await db
    .delete(signingKeys)
    .where(and(eq(signingKeys.state, "retired"), lt(signingKeys.changedAt, before), not(isUsed)));
}

/** Looks that have not begun yet, so that many who wait share one. */
const looks = new WeakMap<KeyRing, Promise<void>>();
const LOOK_EVERY_MS = 200;

/**
 * Where a token names a key that is unknown or not accepted here, another instance may just have begun to sign with it: then
 * we look, five times a second at most. Answers whether that found the key.
 */
export async function lookForKey(ctx: Signer, token: string): Promise<boolean> {
  if (!ctx.keyRing.mayCome(token, ctx.now())) return false;
  const look =
    looks.get(ctx.keyRing) ??
    sleep(LOOK_EVERY_MS).then(async () => {
      looks.delete(ctx.keyRing);
      await recordUse(ctx, await readKeys(ctx));
    });
  looks.set(ctx.keyRing, look);
  await look;
  return !ctx.keyRing.mayCome(token, ctx.now());
}

/** One of many instances and commands at a time. */
const alone = (ctx: Ctx, work: (within: Ctx) => Promise<void>): Promise<void> =>
  transaction(ctx, async (tx) => {
    await tx.db.execute(sql`select pg_advisory_xact_lock(${advisoryLocks.signingKeys})`);
    await work(tx);
  });

async function fill(ctx: Ctx, keys: SigningKey[]): Promise<void> {
  const { algorithm, isOpen } = ctx.keyRing;
  if (algorithm === "HS256") return;
  const ours = keys.filter((key) => key.algorithm === algorithm && key.state !== "retired");
  for (const key of ours) if (!isOpen(key)) await change(ctx, { ...key, state: "retired" });
  const [current, next] = (["current", "next"] as const).map((state) =>
    ours.find((key) => key.state === state && isOpen(key)),
  );
  if (!current && next) await change(ctx, { ...next, state: "current" });
  if (!current && !next) await add(ctx, "current");
  if (!current || !next) await add(ctx, "next");
}

async function add(ctx: Ctx, state: "current" | "next"): Promise<void> {
  const { algorithm, make } = ctx.keyRing;
  if (algorithm === "HS256") return;
  const now = ctx.now();
  await ctx.db
    .insert(signingKeys)
    .values({ ...make(algorithm, state), createdAt: now, changedAt: now });
}

async function change(ctx: Ctx, { kid, state, wrapped, wrappedBy }: StoredKey): Promise<void> {
  const set = { state, wrapped, wrappedBy };
  const changedAt = sql`case when ${signingKeys.state} = ${state} then ${signingKeys.changedAt} else ${ctx.now().toISOString()}::timestamptz end`;
  await ctx.db
    .update(signingKeys)
    .set({ ...set, changedAt })
    .where(eq(signingKeys.kid, kid));
}
