import { and, asc, eq, gt, inArray, lt, ne, or, type SQL, sql } from "drizzle-orm";
import type { Actor, Ctx, SignedIn, Stranger } from "../../ctx.ts";
import { type Db, prepared } from "../../db/db.ts";
import { sessions, users } from "../../db/schema.ts";
import { Problem } from "../../kit/problem.ts";
import {
  hashOf,
  newSecret,
  newSeed,
  type RefreshToken,
  readRefreshToken,
  successorOf,
  writeRefreshToken,
} from "../../kit/refresh-token.ts";
import { record } from "../events/events.ts";

/** A sign-in that goes on. */
export interface Session {
  id: string;
  userId: string;
  address: string | null;
  userAgent: string | null;
  createdAt: Date;
  lastUsedAt: Date;
}

/** What continues a session: whose it is, since when, and its refresh token. */
export interface Continuation {
  userId: string;
  session: { id: string; createdAt: Date };
  refreshToken: string;
}

type Transaction = Pick<Ctx, "now"> & { db: Db };

/** Starts a session for somebody who has just proved who they are, in the caller's transaction. */
export async function startSession(
  ctx: Transaction,
  actor: Stranger,
  userId: string,
): Promise<Continuation> {
  const now = ctx.now();
  const id = Bun.randomUUIDv7("hex", now);
  const [seed, secret] = [newSeed(), newSecret()];
  await ctx.db.insert(sessions).values({
    id,
    userId,
    address: actor.origin?.address ?? null,
    userAgent: actor.origin?.userAgent ?? null,
    createdAt: now,
    lastUsedAt: now,
    currentHash: hashOf(secret),
    seedHash: hashOf(seed),
  });
  await record(ctx, actor, {
    type: "session.started",
    subjectId: userId,
    data: { session_id: id },
  });
  const refreshToken = writeRefreshToken({ sessionId: id, generation: 0, seed, secret });
  return { userId, session: { id, createdAt: now }, refreshToken };
}

const text = (name: string) => sql.placeholder(name);
const isCurrent = sql`${sessions.currentHash} = ${text("hash")}::bytea`;
const isRetry = sql`(${sessions.previousHash} = ${text("hash")}::bytea and ${sessions.rotations}[1] > ${text("graceFrom")}::timestamptz)`;
const ifCurrent = (value: SQL, column: SQL | typeof sessions.nonce | object) =>
  sql`case when ${isCurrent} then ${value} else ${column as SQL} end`;

/**
 * One statement decides: a token that is good now is spent, and its successor takes its place; the token just spent gets
 * that same successor once more. Of two that come together the second sees what the first has written.
 */
export const rotation = prepared((db) =>
  db
    .update(sessions)
    .set({
      previousHash: ifCurrent(sql`${text("hash")}::bytea`, sessions.previousHash),
      nonce: ifCurrent(sql`${text("nonce")}::bytea`, sessions.nonce),
      generation: ifCurrent(sql`${sessions.generation} + 1`, sessions.generation),
      rotations: ifCurrent(
        sql`(array_prepend(${text("now")}::timestamptz, ${sessions.rotations}))[1:${sql.raw(String(ROTATIONS_KEPT))}]`,
        sessions.rotations,
      ),
      lastUsedAt: sql`${text("now")}::timestamptz`,
      currentHash: ifCurrent(sql`${text("successorHash")}::bytea`, sessions.currentHash),
    })
    .from(users)
    .where(
      and(
        eq(sessions.id, text("id")),
        eq(sessions.userId, users.id),
        users.isActive,
        isAlive,
        or(isCurrent, isRetry),
      ),
    )
    .returning({
      userId: sessions.userId,
      createdAt: sessions.createdAt,
      generation: sessions.generation,
      nonce: sessions.nonce,
    })
    .prepare("rotate_session"),
);
const ROTATIONS_KEPT = 8;
const isAlive = sql`${sessions.lastUsedAt} > ${text("usedFrom")}::timestamptz and ${sessions.createdAt} > ${text("bornFrom")}::timestamptz`;

/**
 * Spends a refresh token and answers its successor (RFC 9700, section 4.14.2). Throws `invalid_refresh_token` for
 * everything else, alike. A token that was spent long ago ends its session, because two people hold it; one that nobody
 * issued, or whose successor was spent a moment ago by another tab, ends nothing.
 */
export async function rotateSession(
  ctx: Pick<Ctx, "config" | "db" | "now">,
  actor: Stranger,
  refreshToken: string,
): Promise<Continuation> {
  const token = readRefreshToken(refreshToken);
  if (!token) throw new Problem("invalid_refresh_token");
  const nonce = newSecret();
  const [row] = await rotation(ctx.db).execute({
    ...boundsOf(ctx),
    id: token.sessionId,
    hash: hashOf(token.secret),
    successorHash: hashOf(successorOf(token.secret, nonce)),
    nonce,
  });
  if (!row?.nonce) {
    await endIfReused(ctx, actor, token);
    throw new Problem("invalid_refresh_token");
  }
  const { userId, createdAt, generation } = row;
  const successor = { ...token, generation, secret: successorOf(token.secret, row.nonce) };
  return {
    userId,
    session: { id: token.sessionId, createdAt },
    refreshToken: writeRefreshToken(successor),
  };
}

const SECOND_MS = 1000;
const DAY_MS = 86_400 * SECOND_MS;

/** Times that decide, as text: since when a session must have been used and born, and since when a retry is one. */
function boundsOf({ config, now }: Pick<Ctx, "config" | "now">) {
  const time = now().getTime();
  const before = (ms: number) => new Date(time - ms).toISOString();
  return {
    now: before(0),
    graceFrom: before(config.refreshGraceSeconds * SECOND_MS),
    usedFrom: before(config.sessionIdleDays * DAY_MS),
    bornFrom: before(config.sessionMaxDays * DAY_MS),
  };
}

async function endIfReused(
  ctx: Pick<Ctx, "config" | "db" | "now">,
  actor: Stranger,
  token: RefreshToken,
): Promise<void> {
  await ctx.db.transaction(async (tx) => {
    const [session] = await tx
      .select()
      .from(sessions)
      .where(eq(sessions.id, token.sessionId))
      .for("update");
    if (!session?.seedHash.equals(hashOf(token.seed))) return;
    const age = session.generation - token.generation;
    if (age < 1) return;
    const spentAt = session.rotations[age - 1];
    if (spentAt && spentAt > new Date(boundsOf(ctx).graceFrom)) return;
    await tx.delete(sessions).where(eq(sessions.id, session.id));
    await record({ ...ctx, db: tx }, actor, {
      type: "session.reuse_detected",
      subjectId: session.userId,
      data: { session_id: session.id },
    });
  });
}

const { id, userId, address, userAgent, createdAt, lastUsedAt } = sessions;
const columns = { id, userId, address, userAgent, createdAt, lastUsedAt };

/** The session whose refresh token this is now, or was until a moment ago. */
export async function findSession(
  ctx: Pick<Ctx, "config" | "db" | "now">,
  refreshToken: string,
): Promise<Session | undefined> {
  const token = readRefreshToken(refreshToken);
  if (!token) return undefined;
  const hash = hashOf(token.secret);
  const bounds = boundsOf(ctx);
  const [found] = await ctx.db
    .select(columns)
    .from(sessions)
    .where(
      and(
        eq(id, token.sessionId),
        or(
          eq(sessions.currentHash, hash),
          and(
            eq(sessions.previousHash, hash),
            sql`${sessions.rotations}[1] > ${bounds.graceFrom}::timestamptz`,
          ),
        ),
        isLive(bounds),
      ),
    );
  return found;
}

const isLive = ({ usedFrom, bornFrom }: ReturnType<typeof boundsOf>) =>
  and(gt(lastUsedAt, new Date(usedFrom)), gt(createdAt, new Date(bornFrom)));

/** One's own sessions, the oldest first; at most `SESSIONS_LISTED`. */
export function listSessions(
  ctx: Pick<Ctx, "config" | "db" | "now">,
  actor: SignedIn,
): Promise<Session[]> {
  const bounds = boundsOf(ctx);
  return ctx.db
    .select(columns)
    .from(sessions)
    .where(and(eq(userId, actor.user.id), isLive(bounds)))
    .orderBy(asc(createdAt), asc(id))
    .limit(SESSIONS_LISTED);
}
export const SESSIONS_LISTED = 200;

/** Ends one of one's own sessions. Throws `not_found`, also for somebody else's. */
export async function endSession(
  ctx: Pick<Ctx, "db" | "now">,
  actor: SignedIn,
  sessionId: string,
): Promise<void> {
  const ended = await ctx.db.transaction((tx) =>
    endSessionsOf({ ...ctx, db: tx }, actor, {
      userId: actor.user.id,
      which: eq(id, sessionId),
    }),
  );
  if (ended === 0) throw new Problem("not_found");
}

export const logOutScopes = ["current", "others", "all"] as const;
export type LogOutScope = (typeof logOutScopes)[number];

/** Signs out: here, everywhere else, or everywhere. */
export async function logOut(
  ctx: Pick<Ctx, "db" | "now">,
  actor: SignedIn,
  scope: LogOutScope,
): Promise<void> {
  const here = actor.session.id;
  const which = { current: eq(id, here), others: ne(id, here), all: undefined }[scope];
  await ctx.db.transaction((tx) =>
    endSessionsOf({ ...ctx, db: tx }, actor, { userId: actor.user.id, which }),
  );
}

/** Ends sessions of an account in the caller's transaction, and answers how many: all of them, or `which`. */
export async function endSessionsOf(
  ctx: Transaction,
  actor: Actor,
  { userId: owner, which }: { userId: string; which?: SQL | undefined },
): Promise<number> {
  const ended = await ctx.db
    .delete(sessions)
    .where(and(eq(userId, owner), which))
    .returning({ session_id: id });
  const told = ended.map((data) => ({ type: "session.ended" as const, subjectId: owner, data }));
  await record(ctx, actor, told);
  return ended.length;
}

/** All sessions but this one, for `endSessionsOf`. */
export const except = (sessionId: string): SQL => ne(id, sessionId);

const PURGED_AT_ONCE = 500;

/** Removes sessions that ran out, a few at a time, past rows that somebody else holds. Answers how many. */
export async function purgeSessions(ctx: Pick<Ctx, "config" | "db" | "now">): Promise<number> {
  const bounds = boundsOf(ctx);
  const old = ctx.db
    .select({ id })
    .from(sessions)
    .where(or(lt(lastUsedAt, new Date(bounds.usedFrom)), lt(createdAt, new Date(bounds.bornFrom))))
    .limit(PURGED_AT_ONCE)
    .for("update", { skipLocked: true });
  return (await ctx.db.delete(sessions).where(inArray(id, old)).returning({ id })).length;
}
