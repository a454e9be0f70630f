import { and, eq, isNull, lt, sql } from "drizzle-orm";
import type { Actor, Ctx } from "../ctx.ts";
import { deleteBatch } from "../db/batch.ts";
import { type FieldProblem, fieldProblem, Problem } from "../kit/problem.ts";
import type { ProblemCode } from "../kit/problem-codes.ts";
import { usesOf } from "../limits/policies.ts";
import { idempotency } from "../modules/idempotency/tables.ts";
import type { RequestParts } from "./request-context.ts";

type Outcome<T> =
  | { value: T }
  | { code: ProblemCode; detail: string; errors: FieldProblem[] | null };

/** A request that the client may retry: its actor, route, body and headers. */
export interface Retryable extends Pick<RequestParts, "headers" | "set"> {
  actor: Actor;
  route: string;
  body: unknown;
  /**
   * Whether to keep refusals as well. Only for routes where a refusal consumes a limit, because
   * each kept refusal is a row.
   */
  keepsRefusals?: boolean;
}

const KEEP_MS = 86_400_000;
/** A claim older than this was interrupted: the next request may take it over. */
const CLAIM_MS = 20_000;
const SHAPE = /^[\x21-\x7e]{1,255}$/;
/** Refusals that do not depend on the request itself: a retry may succeed. */
const temporary = new Set<ProblemCode>([
  "too_many_requests",
  // Consumes no limit: a row for each would fill the disk.
  "registration_closed",
  "busy",
  "database_unavailable",
  "internal",
]);

/**
 * Does `work` once for each Idempotency-Key (draft-ietf-httpapi-idempotency-key-header), and
 * returns the first result for a day; refusals only with `keepsRefusals`. Stores the body as a
 * keyed fingerprint: a plain hash of a registration would be a fast hash of its password. Throws
 * `idempotency_key_reused` for another body, and `request_in_progress`.
 */
export async function once<T>(ctx: Ctx, request: Retryable, work: () => Promise<T>): Promise<T> {
  const header = request.headers["idempotency-key"];
  if (header === undefined) return work();
  if (!SHAPE.test(header))
    throw new Problem("invalid_request", {
      errors: [fieldProblem("/header/Idempotency-Key", "wrong_format")],
    });
  const { actor, route } = request;
  // A retry consumes no limit of its work, but it costs a database query.
  if (actor.kind === "anonymous")
    await ctx.limits.consume(actor.origin, usesOf("requests-anonymous", actor.origin));
  const own: Claim = {
    key: ctx.fingerprint(JSON.stringify(["key", scopeOf(actor), route, header])),
    body: ctx.fingerprint(JSON.stringify(["body", request.body])),
    claimedAt: ctx.now(),
  };
  if (!(await claim(ctx, own))) return replay(await find<T>(ctx, own), own, request.set);
  const value = await work().catch(async (error) => {
    await keepRefusal(ctx, own, request.keepsRefusals ? error : undefined);
    throw error;
  });
  // JSON has no undefined.
  await keep<T>(ctx, own, { value: value ?? (null as T) });
  return value;
}

const scopeOf = (actor: Actor): string => {
  if (actor.kind === "user") return actor.user.id;
  return `${actor.kind} ${actor.kind === "anonymous" ? actor.origin?.clientKey : ""}`;
};

interface Claim {
  key: Buffer;
  body: Buffer;
  claimedAt: Date;
}

/**
 * Stores a refusal as the result. After any other failure, deletes the claim, so that a retry may
 * do the work again.
 */
async function keepRefusal(ctx: Ctx, own: Claim, error: unknown): Promise<void> {
  if (!(error instanceof Problem) || temporary.has(error.code))
    return ignoringFailure(ctx, ctx.db.delete(idempotency).where(isOwn(own)));
  const { code, message: detail, errors = null } = error;
  await keep(ctx, own, { code, detail, errors });
}

const keep = <T>(ctx: Ctx, own: Claim, outcome: Outcome<T>): Promise<void> =>
  ignoringFailure(ctx, ctx.db.update(idempotency).set({ outcome }).where(isOwn(own)));

/** Matches only the own claim: a request whose claim was taken over changes nothing. */
const isOwn = ({ key, claimedAt }: Claim) =>
  and(eq(idempotency.key, key), eq(idempotency.claimedAt, claimedAt));

/**
 * The work is done and its response is sent, even if the database fails before the result is
 * stored.
 */
async function ignoringFailure({ log }: Ctx, writing: Promise<unknown>): Promise<void> {
  const [written] = await Promise.allSettled([writing]);
  if (written.status === "rejected")
    log.warn({ err: written.reason }, "The response to an Idempotency-Key could not be stored.");
}

/** Claims the key. The database decides which request gets it. */
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

/** The stored state of a key. */
interface Kept<T> {
  body: Buffer;
  outcome: Outcome<T> | null;
}

async function find<T>(ctx: Ctx, { key }: Claim): Promise<Kept<T>> {
  const [found] = await ctx.db.select().from(idempotency).where(eq(idempotency.key, key));
  if (!found) throw new Problem("request_in_progress");
  return { body: found.body, outcome: found.outcome as Outcome<T> | null };
}

function replay<T>({ body, outcome }: Kept<T>, own: Claim, set: RequestParts["set"]): T {
  if (!body.equals(own.body)) throw new Problem("idempotency_key_reused");
  if (outcome === null) throw new Problem("request_in_progress");
  set.headers["idempotency-replayed"] = "true";
  if ("value" in outcome) return outcome.value;
  const { code, detail, errors } = outcome;
  throw new Problem(code, { detail, ...(errors ? { errors } : {}) });
}

/** Deletes results that are a day old, in batches. Returns how many. */
export const purgeIdempotency = ({ db, now }: Ctx): Promise<number> =>
  deleteBatch(db, idempotency.key, lt(idempotency.expiresAt, now()));
