import { and, eq, inArray, isNull, lt, sql } from "drizzle-orm";
import type { Actor, Ctx } from "../ctx.ts";
import { idempotency } from "../db/schema.ts";
import { subscriberOf } from "../kit/network.ts";
import { type FieldProblem, fieldProblem, Problem, type ProblemCode } from "../kit/problem.ts";
import type { Visit } from "./visit.ts";

type Keeper = Pick<Ctx, "db" | "fingerprint" | "now">;
type Outcome<T> =
  | { value: T }
  | { code: ProblemCode; detail: string; errors: FieldProblem[] | null };

/** A request that may come again: who sends it, to which route, with what, and what they wrote into Idempotency-Key. */
export interface Retryable extends Pick<Visit, "headers" | "set"> {
  actor: Actor;
  route: string;
  body: unknown;
}

const KEEP_MS = 86_400_000;
/** Work that has not ended by then was cut off: whoever comes next does it. */
const CLAIM_MS = 60_000;
const SHAPE = /^[\x21-\x7e]{1,255}$/;
/** What says nothing of the request itself: the next one may fare otherwise. */
const passing = new Set<ProblemCode>([
  "too_many_requests",
  "busy",
  "database_unavailable",
  "internal",
]);

/**
 * Does `work` once for each Idempotency-Key (draft-ietf-httpapi-idempotency-key-header), and answers a day long what it
 * answered then, refusals included. A body is kept as a keyed fingerprint only: a plain hash of a registration would be a fast
 * hash of its password. Throws `idempotency_key_reused` for another body, and `request_in_progress`.
 */
export async function once<T>(ctx: Keeper, request: Retryable, work: () => Promise<T>): Promise<T> {
  const given = request.headers["idempotency-key"];
  if (given === undefined) return work();
  if (!SHAPE.test(given))
    throw new Problem("invalid_request", {
      errors: [fieldProblem("/idempotency-key", "wrong_format")],
    });
  const key = ctx.fingerprint(
    JSON.stringify(["key", scopeOf(request.actor), request.route, given]),
  );
  const body = ctx.fingerprint(JSON.stringify(["body", request.body]));
  if (!(await claim(ctx, key, body))) return replay<T>(ctx, { key, body, set: request.set });
  try {
    const value = await work();
    await keep<T>(ctx, key, { value });
    return value;
  } catch (error) {
    if (!(error instanceof Problem) || passing.has(error.code))
      await ctx.db.delete(idempotency).where(eq(idempotency.key, key));
    else
      await keep<T>(ctx, key, {
        code: error.code,
        detail: error.message,
        errors: error.errors ?? null,
      });
    throw error;
  }
}

const scopeOf = (actor: Actor): string =>
  actor.kind === "user" ? actor.user.id : actor.kind + subscriberOf(addressOf(actor) ?? "");
const addressOf = (actor: Actor) => (actor.kind === "stranger" ? actor.origin?.address : undefined);

/** The database decides who does it. */
async function claim({ db, now }: Keeper, key: Buffer, body: Buffer): Promise<boolean> {
  const time = now();
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

async function keep<T>({ db }: Keeper, key: Buffer, outcome: Outcome<T>): Promise<void> {
  await db.update(idempotency).set({ outcome }).where(eq(idempotency.key, key));
}

async function replay<T>(
  { db }: Keeper,
  { key, body, set }: { key: Buffer; body: Buffer; set: Visit["set"] },
): Promise<T> {
  const [found] = await db.select().from(idempotency).where(eq(idempotency.key, key));
  if (!found) throw new Problem("request_in_progress");
  if (!found.body.equals(body)) throw new Problem("idempotency_key_reused");
  const outcome = found.outcome as Outcome<T> | null;
  if (outcome === null) throw new Problem("request_in_progress");
  set.headers["idempotency-replayed"] = "true";
  if ("value" in outcome) return outcome.value;
  const { code, detail, errors } = outcome;
  throw new Problem(code, { detail, ...(errors ? { errors } : {}) });
}

const PURGED_AT_ONCE = 500;

/** Removes what is a day old, a few rows at a time, past rows that somebody else holds. Answers how many. */
export async function purgeIdempotency({ db, now }: Pick<Ctx, "db" | "now">): Promise<number> {
  const old = db
    .select({ key: idempotency.key })
    .from(idempotency)
    .where(lt(idempotency.expiresAt, now()))
    .limit(PURGED_AT_ONCE)
    .for("update", { skipLocked: true });
  const purged = await db
    .delete(idempotency)
    .where(and(inArray(idempotency.key, old)))
    .returning({ key: idempotency.key });
  return purged.length;
}
