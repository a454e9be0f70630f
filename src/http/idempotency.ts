import { and, eq, isNull, lt, sql } from "drizzle-orm";
import type { Actor, Ctx } from "../ctx.ts";
import { deleteBatch } from "../db/batch.ts";
import { type FieldProblem, fieldProblem, Problem } from "../kit/problem.ts";
import type { ProblemCode } from "../kit/problem-codes.ts";
import { usesOf } from "../limits/policies.ts";
import { idempotency } from "../modules/idempotency/tables.ts";
import type { Visit } from "./origin.ts";

type Outcome<T> =
  | { value: T }
  | { code: ProblemCode; detail: string; errors: FieldProblem[] | null };

/** A request that may come again: who sends it, to which route, with what, and what they wrote into Idempotency-Key. */
export interface Retryable extends Pick<Visit, "headers" | "set"> {
  actor: Actor;
  route: string;
  body: unknown;
  /** Whether to keep refusals: only where a refusal costs a limit, since each one is a row. */
  keepsRefusals?: boolean;
}

const KEEP_MS = 86_400_000;
/** Work that has not ended by then was cut off: whoever comes next does it. */
const CLAIM_MS = 20_000;
const SHAPE = /^[\x21-\x7e]{1,255}$/;
/** What says nothing of the request itself: the next one may fare otherwise. */
const passing = new Set<ProblemCode>([
  "too_many_requests",
  // Costs no limit: a row for each would fill the disk.
  "registration_closed",
  "busy",
  "database_unavailable",
  "internal",
]);

/**
 * Does `work` once for each Idempotency-Key (draft-ietf-httpapi-idempotency-key-header), and
 * returns the first result for a day, refusals only with `keepsRefusals`. A body is kept as a keyed
 * fingerprint: a plain hash of a registration would be a fast hash of its password. Throws
 * `idempotency_key_reused` for another body, and `request_in_progress`.
 */
export async function once<T>(ctx: Ctx, request: Retryable, work: () => Promise<T>): Promise<T> {
  const given = request.headers["idempotency-key"];
  if (given === undefined) return work();
  if (!SHAPE.test(given))
    throw new Problem("invalid_request", {
      errors: [fieldProblem("/header/Idempotency-Key", "wrong_format")],
    });
  const { actor, route } = request;
  // A retry spends nothing of what its work is limited by, but costs the database something.
  if (actor.kind === "stranger")
    await ctx.limits.consume(actor.origin, usesOf("requests-stranger", actor.origin));
  const mine: Claim = {
    key: ctx.fingerprint(JSON.stringify(["key", scopeOf(actor), route, given])),
    body: ctx.fingerprint(JSON.stringify(["body", request.body])),
    claimedAt: ctx.now(),
  };
  const known = await recall<T>(ctx, mine);
  if (known) return replay(known, mine, request.set);
  if (!(await claim(ctx, mine))) return replay(await find<T>(ctx, mine), mine, request.set);
  const value = await work().catch(async (error) => {
    await settle(ctx, mine, request.keepsRefusals ? error : undefined);
    throw error;
  });
  // JSON has no undefined.
  await keep<T>(ctx, mine, { value: value ?? (null as T) });
  return value;
}

const scopeOf = (actor: Actor): string => {
  if (actor.kind === "user") return actor.user.id;
  return `${actor.kind} ${actor.kind === "stranger" ? actor.origin?.clientKey : ""}`;
};

interface Claim {
  key: Buffer;
  body: Buffer;
  claimedAt: Date;
}

/** Keeps a refusal as a result. After any other failure the work may be done again. */
async function settle(ctx: Ctx, mine: Claim, error: unknown): Promise<void> {
  if (!(error instanceof Problem) || passing.has(error.code))
    return unlessAway(ctx, ctx.db.delete(idempotency).where(isMine(mine)));
  const { code, message: detail, errors = null } = error;
  await keep(ctx, mine, { code, detail, errors });
}

const keep = <T>(ctx: Ctx, mine: Claim, outcome: Outcome<T>): Promise<void> =>
  unlessAway(ctx, ctx.db.update(idempotency).set({ outcome }).where(isMine(mine)));

/** Whoever was so slow that somebody else has done it meanwhile touches nothing of theirs. */
const isMine = ({ key, claimedAt }: Claim) =>
  and(eq(idempotency.key, key), eq(idempotency.claimedAt, claimedAt));

/** What was done is done, and answered, also where the database is gone before the answer could be kept. */
async function unlessAway({ log }: Ctx, writing: Promise<unknown>): Promise<void> {
  const [written] = await Promise.allSettled([writing]);
  if (written.status === "rejected")
    log.warn({ err: written.reason }, "The answer to an Idempotency-Key could not be kept.");
}

/** The database decides who does it. */
async function claim({ db }: Ctx, { key, body, claimedAt: time }: Claim): Promise<boolean> {
  const values = { key, body, claimedAt: time, expiresAt: new Date(time.getTime() + KEEP_MS) };
  const cutOff = new Date(time.getTime() - CLAIM_MS);
  const claimed = await db
    .insert(idempotency)
    .values(values)
    .onConflictDoUpdate({
      target: idempotency.key,
      set: { ...values, outcome: null },
      setWhere: sql`${idempotency.expiresAt} < ${time.toISOString()}::timestamptz
        or (${isNull(idempotency.outcome)} and ${eq(idempotency.body, body)} and ${lt(idempotency.claimedAt, cutOff)})`,
    })
    .returning({ key: idempotency.key });
  return claimed.length > 0;
}

/** What somebody has done, or is doing, under a key. */
interface Kept<T> {
  body: Buffer;
  outcome: Outcome<T> | null;
}

async function find<T>(ctx: Ctx, { key }: Claim): Promise<Kept<T>> {
  const [found] = await ctx.db.select().from(idempotency).where(eq(idempotency.key, key));
  if (!found) throw new Problem("request_in_progress");
  const { body, expiresAt } = found;
  const kept = { body, outcome: found.outcome as Outcome<T> | null };
  if (kept.outcome) await share(ctx, key, { ...kept, expiresAt });
  return kept;
}

/** An outcome never changes: whoever asks again need not ask the database. */
async function share<T>(
  { envelope, now, shared }: Ctx,
  key: Buffer,
  { body, outcome, expiresAt }: Kept<T> & { expiresAt: Date },
): Promise<void> {
  const name = nameOf(key);
  const value = envelope.seal(name, { body: body.toString("hex"), outcome }).toString("base64");
  const seconds = Math.floor((expiresAt.getTime() - now().getTime()) / 1000);
  if (seconds > 0) await shared.keep(name, { value, seconds });
}

async function recall<T>({ envelope, shared }: Ctx, { key }: Claim): Promise<Kept<T> | undefined> {
  const name = nameOf(key);
  const value = await shared.recall(name);
  const opened =
    value === undefined ? undefined : envelope.open(name, Buffer.from(value, "base64"));
  if (opened === undefined) return undefined;
  const { body, outcome } = opened as { body: string; outcome: Outcome<T> };
  return { body: Buffer.from(body, "hex"), outcome };
}

const nameOf = (key: Buffer) => `idempotency ${key.toString("hex")}`;

function replay<T>({ body, outcome }: Kept<T>, mine: Claim, set: Visit["set"]): T {
  if (!body.equals(mine.body)) throw new Problem("idempotency_key_reused");
  if (outcome === null) throw new Problem("request_in_progress");
  set.headers["idempotency-replayed"] = "true";
  if ("value" in outcome) return outcome.value;
  const { code, detail, errors } = outcome;
  throw new Problem(code, { detail, ...(errors ? { errors } : {}) });
}

/** Deletes answers that are a day old, a few at a time. Returns how many. */
export const purgeIdempotency = ({ db, now }: Ctx): Promise<number> =>
  deleteBatch(db, idempotency.key, lt(idempotency.expiresAt, now()));
