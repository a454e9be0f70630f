import { and, desc, eq, inArray, lt, ne, or, type SQL } from "drizzle-orm";
import {
  newSecret,
  readRefreshToken,
  successorOf,
  writeRefreshToken,
} from "../../credentials/refresh-token.ts";
import type { Actor, Anonymous, Ctx, UserActor } from "../../ctx.ts";
import { deleteBatch, isInBatch } from "../../db/batch.ts";
import { transaction } from "../../db/transaction.ts";
import { sha256 } from "../../kit/digest.ts";
import { Problem } from "../../kit/problem.ts";
import { DAY } from "../../limits/policies.ts";
import { record } from "../events/events.ts";
import { users } from "../users/tables.ts";
import { endIfReused, recordRetry } from "./reuse.ts";
import {
  boundsOf,
  isAlive,
  isCurrentToken,
  isRetriedToken,
  rotation,
  type TokenClient,
  tokenClientOf,
} from "./rotation.ts";
import { sessions } from "./tables.ts";

/** A session that starts with a sign-in and lasts until it is ended or expires. */
export interface Session {
  id: string;
  userId: string;
  ip: string | null;
  userAgent: string | null;
  createdAt: Date;
  lastUsedAt: Date;
}

/** A started or rotated session: its user, when it started, and its current refresh token. */
export interface SessionGrant {
  userId: string;
  session: { id: string; createdAt: Date };
  refreshToken: string;
}

/**
 * Starts a session for a user who has just authenticated, in the caller's transaction. Ends the
 * least recently used sessions beyond `sessionsPerAccount`. Concurrent sign-ins may briefly exceed
 * that limit; the next sign-in trims it.
 */
export async function startSession(
  ctx: Ctx,
  actor: Anonymous,
  userId: string,
): Promise<SessionGrant> {
  const now = ctx.now();
  const id = Bun.randomUUIDv7("hex", now);
  const [seed, secret] = [ctx.refreshSeeds.create(id), newSecret()];
  const surplus = inArray(
    sessions.id,
    leastRecentlyUsed(ctx, userId, ctx.config.sessionsPerAccount - 1),
  );
  await end(ctx, actor, { userId, where: surplus });
  await ctx.db.insert(sessions).values({
    id,
    userId,
    ip: actor.origin?.ip ?? null,
    userAgent: actor.origin?.userAgent ?? null,
    createdAt: now,
    lastUsedAt: now,
    currentHash: sha256(secret),
    seedHash: sha256(seed),
  });
  await record(ctx, actor, {
    type: "session.started",
    subjectId: userId,
    data: { session_id: id },
  });
  const refreshToken = writeRefreshToken({ sessionId: id, generation: 0, seed, secret });
  return { userId, session: { id, createdAt: now }, refreshToken };
}

/**
 * Skips rows that another transaction is deleting, so that concurrent sign-ins do not wait for each
 * other.
 */
function leastRecentlyUsed({ db }: Ctx, owner: string, kept: number) {
  const leastUsed = db
    .select({ id: sessions.id })
    .from(sessions)
    .where(eq(sessions.userId, owner))
    .orderBy(desc(sessions.lastUsedAt))
    .offset(kept);
  return db
    .select({ id: sessions.id })
    .from(sessions)
    .where(isInBatch(sessions.id, leastUsed))
    .for("update", { skipLocked: true });
}

/**
 * Spends a refresh token and returns its successor (RFC 9700, section 4.14.2). Throws
 * `invalid_refresh_token` for every token that is not accepted. A spent token that a second party
 * uses ends its session (`endIfReused`).
 */
export async function rotateSession(
  ctx: Ctx,
  actor: Anonymous,
  refreshToken: string,
): Promise<SessionGrant> {
  const token = readRefreshToken(refreshToken);
  if (!token) throw new Problem("invalid_refresh_token");
  const client = tokenClientOf(ctx, actor);
  const nonce = newSecret();
  const [row] = await rotation(ctx.db).execute({
    ...boundsOf(ctx),
    ...client,
    id: token.sessionId,
    hash: sha256(token.secret),
    successorHash: sha256(successorOf(token.secret, nonce)),
    nonce,
  });
  if (!row?.nonce) {
    await endIfReused(ctx, actor, { token, client });
    throw new Problem("invalid_refresh_token");
  }
  const { userId, createdAt, generation } = row;
  if (!row.nonce.equals(nonce))
    await recordRetry(ctx, actor, { userId, sessionId: token.sessionId });
  const successor = { ...token, generation, secret: successorOf(token.secret, row.nonce) };
  return {
    userId,
    session: { id: token.sessionId, createdAt },
    refreshToken: writeRefreshToken(successor),
  };
}

/**
 * Finds the session of a refresh token without spending the token. Returns undefined unless the
 * token is current, or the same client spent it within the grace period. A reused token ends its
 * session, as in `rotateSession`.
 */
export const acceptRefreshToken = (
  ctx: Ctx,
  actor: Anonymous,
  refreshToken: string,
): Promise<Session | undefined> =>
  findByToken(ctx, actor, { refreshToken, client: tokenClientOf(ctx, actor) });

/**
 * Like `acceptRefreshToken`, for another party that asks about the token. That party is not the
 * client that rotated it, so only the grace period counts.
 */
export const inspectRefreshToken = (
  ctx: Ctx,
  actor: Anonymous,
  refreshToken: string,
): Promise<Session | undefined> => findByToken(ctx, actor, { refreshToken, client: undefined });

const { id, userId, ip, userAgent, createdAt, lastUsedAt } = sessions;
const columns = { id, userId, ip, userAgent, createdAt, lastUsedAt };

async function findByToken(
  ctx: Ctx,
  actor: Anonymous,
  { refreshToken, client }: { refreshToken: string; client: TokenClient | undefined },
): Promise<Session | undefined> {
  const token = readRefreshToken(refreshToken);
  if (!token) return undefined;
  const hash = sha256(token.secret);
  const bounds = boundsOf(ctx);
  const isAcceptedToken = or(isCurrentToken(hash), isRetriedToken(hash, { ...bounds, client }));
  const [found] = await ctx.db
    .select(columns)
    .from(sessions)
    .innerJoin(users, and(eq(users.id, userId), users.isActive))
    .where(and(eq(id, token.sessionId), isAcceptedToken, isAlive(bounds)));
  if (!found) await endIfReused(ctx, actor, { token, client });
  return found;
}

/** Whole seconds until a session ends, however often it is used. */
export const secondsLeftOf = ({ config, now }: Ctx, { createdAt }: { createdAt: Date }): number =>
  Math.floor((createdAt.getTime() - now().getTime()) / 1000) + config.sessionMaxDays * DAY;

/** The caller's own sessions, the most recently used first; at most `LISTED_MAX`. */
export function listSessions(ctx: Ctx, actor: UserActor): Promise<Session[]> {
  const bounds = boundsOf(ctx);
  return ctx.db
    .select(columns)
    .from(sessions)
    .where(and(eq(userId, actor.user.id), isAlive(bounds)))
    .orderBy(desc(lastUsedAt), desc(id))
    .limit(LISTED_MAX);
}
const LISTED_MAX = 1_000;

/**
 * Ends one of the caller's own sessions. Throws `not_found`, also for a session of another user.
 */
export async function endSession(ctx: Ctx, actor: UserActor, sessionId: string): Promise<void> {
  const ended = await transaction(ctx, (tx) =>
    endSessionsOf(tx, actor, {
      userId: actor.user.id,
      which: { only: sessionId },
    }),
  );
  if (ended === 0) throw new Problem("not_found");
}

export const logOutScopes = ["current", "others", "all"] as const;
export type LogOutScope = (typeof logOutScopes)[number];

/** Ends the current session, all others, or all. */
export async function logOut(ctx: Ctx, actor: UserActor, scope: LogOutScope): Promise<void> {
  const currentId = actor.session.id;
  const which = {
    current: { only: currentId },
    others: { except: currentId },
    all: "all" as const,
  }[scope];
  await transaction(ctx, (tx) => endSessionsOf(tx, actor, { userId: actor.user.id, which }));
}

/** Which sessions of a user, by their ids. */
export type Which = "all" | { only: string } | { except: string };

/** Ends sessions of a user in the caller's transaction. Returns how many. */
export const endSessionsOf = (
  ctx: Ctx,
  actor: Actor,
  { userId: owner, which }: { userId: string; which: Which },
): Promise<number> => end(ctx, actor, { userId: owner, where: conditionOf(which) });

const conditionOf = (which: Which): SQL | undefined => {
  if (which === "all") return undefined;
  return "only" in which ? eq(id, which.only) : ne(id, which.except);
};

async function end(
  ctx: Ctx,
  actor: Actor,
  { userId: owner, where }: { userId: string; where: SQL | undefined },
): Promise<number> {
  const ended = await ctx.db
    .delete(sessions)
    .where(and(eq(userId, owner), where))
    .returning({ session_id: id });
  const endedEvents = ended.map((data) => ({
    type: "session.ended" as const,
    subjectId: owner,
    data,
  }));
  await record(ctx, actor, endedEvents);
  return ended.length;
}

/** Deletes expired sessions, a few at a time. Returns how many. */
export function purgeSessions(ctx: Ctx): Promise<number> {
  const bounds = boundsOf(ctx);
  const isUnused = lt(lastUsedAt, new Date(bounds.usedFrom));
  return deleteBatch(ctx.db, id, or(isUnused, lt(createdAt, new Date(bounds.bornFrom))));
}
