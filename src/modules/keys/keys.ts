import { setTimeout as sleep } from "node:timers/promises";
import { and, asc, eq, lt, lte, not, sql } from "drizzle-orm";
import { requireOperator } from "../../access.ts";
import type { KeyRing, KeyUse, StoredKey } from "../../credentials/key-ring.ts";
import type { Actor, Ctx } from "../../ctx.ts";
import { isUnwritable } from "../../db/failures.ts";
import { advisoryLocks } from "../../db/locks.ts";
import { transaction } from "../../db/transaction.ts";
import { Problem } from "../../kit/problem.ts";
import { record } from "../events/events.ts";
import { keyUses, signingKeys } from "./tables.ts";

/** A key pair, and when it entered its current state. */
export interface SigningKey extends StoredKey {
  createdAt: Date;
  changedAt: Date;
}

/** How long services that verify our tokens may cache the public keys. */
export const PUBLISHED_SECONDS = 300;

export const listKeys = ({ db }: Ctx): Promise<SigningKey[]> =>
  db
    .select()
    .from(signingKeys)
    .orderBy(asc(signingKeys.createdAt), asc(signingKeys.kid)) as Promise<SigningKey[]>;

/** A key is published for this long before it signs: twice as long as verifiers cache the keys. */
const PUBLISHED_MS = 2 * PUBLISHED_SECONDS * 1000;

/**
 * Makes the next key the current one, and creates another next key. Throws `next_key_too_new` if
 * verifiers may not know the next key yet, unless `isUrgent` (a key has leaked). Throws
 * `forbidden`, `other_secret_key`, and `not_found` under HS256.
 */
export async function rotateKeys(ctx: Ctx, actor: Actor, { isUrgent = false } = {}): Promise<void> {
  requireOperator(actor);
  const { algorithm } = ctx.keyRing;
  if (algorithm === "HS256") throw new Problem("not_found", { detail: HS256 });
  await withLock(ctx, async (tx) => {
    refuseForeign(tx, await listKeys(tx));
    await ensureKeys(tx, await listKeys(tx));
    const keys = (await listKeys(tx)).filter((key) => key.algorithm === algorithm);
    const current = keys.find(({ state }) => state === "current");
    const next = keys.find(({ state }) => state === "next");
    const age = ctx.now().getTime() - (next?.changedAt.getTime() ?? 0);
    if (!isUrgent && age < PUBLISHED_MS) throw new Problem("next_key_too_new");
    if (current) await updateKey(tx, { ...current, state: "retired" });
    if (next) await updateKey(tx, { ...next, state: "current" });
    await createKey(tx, "next");
    const data = { kid: next?.kid ?? "" };
    await record(tx, actor, { type: "key.rotated", subjectId: null, data });
  });
  await loadKeys(ctx);
}
const HS256 =
  "ALGORITHM=HS256 uses no key pairs: SECRET_KEY signs access tokens. To change it, see docs/guides/keys.md";

/** Its tokens are rejected. Throws `forbidden`, `not_found`, `other_secret_key`, `key_in_use`. */
export async function retireKey(ctx: Ctx, actor: Actor, kid: string): Promise<void> {
  requireOperator(actor);
  await withLock(ctx, async (tx) => {
    const keys = await listKeys(tx);
    refuseForeign(tx, keys);
    const key = keys.find((one) => one.kid === kid);
    if (!key) throw new Problem("not_found", { detail: "No key has this ID" });
    // For every algorithm: the servers may have another `ALGORITHM` than this command.
    if (key.state === "current") throw new Problem("key_in_use");
    await tx.db.delete(signingKeys).where(eq(signingKeys.kid, kid));
    await ensureKeys(tx, await listKeys(tx));
    await record(tx, actor, { type: "key.retired", subjectId: null, data: { kid } });
  });
  await loadKeys(ctx);
}

/** Throws `other_secret_key`: the servers could not sign with a key that is created here. */
function refuseForeign({ keyRing }: Ctx, keys: SigningKey[]): void {
  const isForeign = (key: SigningKey) => key.state !== "retired" && !keyRing.isOpen(key);
  if (keys.some(isForeign)) throw new Problem("other_secret_key");
}

/**
 * Ensures that there is a current and a next key, and encrypts all keys under the current secret.
 * The previous secret may then be removed. Retires a current key that cannot be decrypted, and keys
 * of another algorithm. Retired keys verify until their last tokens expire.
 */
export async function prepareKeys(ctx: Ctx): Promise<void> {
  await withLock(ctx, async (tx) => {
    for (const key of await listKeys(tx)) {
      const reencrypted = ctx.keyRing.reencrypted(key) ?? key;
      const state = key.algorithm === ctx.keyRing.algorithm ? key.state : "retired";
      if (reencrypted !== key || state !== key.state)
        await updateKey(tx, { ...reencrypted, state });
    }
    await ensureKeys(tx, await listKeys(tx));
  });
  await recordUse(ctx, await loadKeys(ctx));
}

/** How long an instance signs with a key that was retired elsewhere, before it creates another. */
const RETIRED_ELSEWHERE_MS = 12 * 3_600_000;

/**
 * Deletes expired keys, loads changes, and repairs what an instance with other settings retired.
 * Returns 0: there is no more work.
 */
export async function maintainKeys(ctx: Ctx): Promise<number> {
  const now = ctx.now().getTime();
  // First, because it also works while the database is read-only.
  await recordUse(ctx, await loadKeys(ctx));
  await purgeKeys(ctx, new Date(now - RETIRED_MS));
  if (ctx.keyRing.algorithm === "HS256") return 0;
  const keys = (await listKeys(ctx)).filter((key) => key.algorithm === ctx.keyRing.algorithm);
  const signing = keys.find(({ kid }) => kid === ctx.keyRing.signingKid());
  const hasNext = keys.some(({ state }) => state === "next");
  const isHealthy =
    signing?.state === "retired"
      ? now - signing.changedAt.getTime() < RETIRED_ELSEWHERE_MS
      : hasNext;
  if (!signing || !isHealthy) await prepareKeys(ctx);
  return 0;
}

/** An instance that missed the change may have signed for long with a key in `key_uses`. */
async function purgeKeys({ db }: Ctx, before: Date): Promise<void> {
  const isUsed = sql`exists (select 1 from ${keyUses} where ${keyUses.kid} = ${signingKeys.kid})`;
  await db.delete(keyUses).where(lt(keyUses.acceptedUntil, before));
  await db
    .delete(signingKeys)
    .where(and(eq(signingKeys.state, "retired"), lt(signingKeys.changedAt, before), not(isUsed)));
}

/** Reads that have not started yet, so that concurrent callers share one. */
const pendingReads = new WeakMap<KeyRing, Promise<void>>();
const READ_EVERY_MS = 200;

/**
 * Another instance may have just started to sign with an unknown key. Loads the keys, at most five
 * times a second. Returns whether the token's key is now accepted.
 */
export async function reloadKeys(ctx: Ctx, token: string): Promise<boolean> {
  if (!ctx.keyRing.isExpected(token, ctx.now())) return false;
  const pendingRead =
    pendingReads.get(ctx.keyRing) ??
    sleep(READ_EVERY_MS).then(async () => {
      pendingReads.delete(ctx.keyRing);
      await recordUse(ctx, await loadKeys(ctx));
    });
  pendingReads.set(ctx.keyRing, pendingRead);
  await pendingRead;
  return !ctx.keyRing.isExpected(token, ctx.now());
}

/** Loads the keys and the changes of other instances. Returns until when each key is accepted. */
async function loadKeys(ctx: Ctx): Promise<KeyUse[]> {
  const uses = await listUses(ctx);
  if (!ctx.keyRing.learn(await listKeys(ctx), uses)) ctx.log.error({}, FOREIGN);
  loaded.add(ctx.keyRing);
  return uses;
}
const loaded = new WeakSet<KeyRing>();

/** The public keys. With HS256, the start does not load them: the first call may have to. */
export async function publishedKeys(ctx: Ctx) {
  if (!loaded.has(ctx.keyRing)) await loadKeys(ctx);
  return ctx.keyRing.published(ctx.now());
}

const FOREIGN =
  "The current signing key cannot be used: it was created with another SECRET_KEY or ALGORITHM. An older key signs for some hours, then a new key is created. Give all instances the same settings, and add the other secret key to SECRET_KEYS.";

/** Longer than any access token may be valid. */
const RETIRED_MS = 25 * 3_600_000;

/** A later time than any token can have was written by an instance with a wrong clock. */
const listUses = ({ db, now }: Ctx): Promise<KeyUse[]> =>
  db
    .select()
    .from(keyUses)
    .where(lte(keyUses.acceptedUntil, latestUse(now())));
const latestUse = (now: Date) => new Date(now.getTime() + RETIRED_MS);

/** How long a key is accepted after its last token expires. Recorded again when less than `min`. */
const USE_SPARE_MS = { max: 120_000, min: 60_000 };

/**
 * Records until when all instances accept this instance's signing key. After that they reject it,
 * whatever times a token claims: otherwise an attacker with an old SECRET_KEY could sign valid
 * tokens forever.
 */
async function recordUse(ctx: Ctx, uses: KeyUse[]): Promise<void> {
  const kid = ctx.keyRing.signingKid();
  if (kid === undefined) return;
  const lastExpiry = ctx.now().getTime() + ctx.tokens.lifetimeSeconds * 1000;
  const recorded = uses.find((use) => use.kid === kid)?.acceptedUntil.getTime() ?? 0;
  if (recorded >= lastExpiry + USE_SPARE_MS.min) return;
  const acceptedUntil = new Date(lastExpiry + USE_SPARE_MS.max);
  const latest = latestUse(ctx.now()).toISOString();
  // Another instance may issue tokens with a longer lifetime.
  const later = sql`case when ${keyUses.acceptedUntil} > ${latest}::timestamptz then excluded.accepted_until else greatest(${keyUses.acceptedUntil}, excluded.accepted_until) end`;
  try {
    await ctx.db
      .insert(keyUses)
      .values({ kid, acceptedUntil })
      .onConflictDoUpdate({ target: keyUses.kid, set: { acceptedUntil: later } });
  } catch (error) {
    // Read-only database: no session starts or continues. A later read records the use.
    if (!isUnwritable(error)) throw error;
  }
}

/** One instance or command at a time. */
const withLock = (ctx: Ctx, work: (tx: Ctx) => Promise<void>): Promise<void> =>
  transaction(ctx, async (tx) => {
    await tx.db.execute(sql`select pg_advisory_xact_lock(${advisoryLocks.signingKeys})`);
    await work(tx);
  });

async function ensureKeys(ctx: Ctx, keys: SigningKey[]): Promise<void> {
  const { algorithm, isOpen } = ctx.keyRing;
  if (algorithm === "HS256") return;
  const active = keys.filter((key) => key.algorithm === algorithm && key.state !== "retired");
  for (const key of active) if (!isOpen(key)) await updateKey(ctx, { ...key, state: "retired" });
  const [current, next] = (["current", "next"] as const).map((state) =>
    active.find((key) => key.state === state && isOpen(key)),
  );
  if (!current && next) await updateKey(ctx, { ...next, state: "current" });
  if (!current && !next) await createKey(ctx, "current");
  if (!current || !next) await createKey(ctx, "next");
}

async function createKey(ctx: Ctx, state: "current" | "next"): Promise<void> {
  const { algorithm, make } = ctx.keyRing;
  if (algorithm === "HS256") return;
  const now = ctx.now();
  await ctx.db
    .insert(signingKeys)
    .values({ ...make(algorithm, state), createdAt: now, changedAt: now });
}

async function updateKey(
  ctx: Ctx,
  { kid, state, encryptedKey, encryptedWith }: StoredKey,
): Promise<void> {
  const set = { state, encryptedKey, encryptedWith };
  const changedAt = sql`case when ${signingKeys.state} = ${state} then ${signingKeys.changedAt} else ${ctx.now().toISOString()}::timestamptz end`;
  await ctx.db
    .update(signingKeys)
    .set({ ...set, changedAt })
    .where(eq(signingKeys.kid, kid));
}
