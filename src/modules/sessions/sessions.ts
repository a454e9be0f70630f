import { and, desc, eq, inArray, lt, ne, or, type SQL, sql } from "drizzle-orm";
import { newSecret, writeRefreshToken } from "../../credentials/refresh-token.ts";
import type { Actor, Anonymous, Ctx, User, UserActor } from "../../ctx.ts";
import { deleteBatch, isInBatch } from "../../db/batch.ts";
import { transaction } from "../../db/transaction.ts";
import { sha256 } from "../../kit/digest.ts";
import { Problem } from "../../kit/problem.ts";
import { deviceOf } from "../../kit/user-agent.ts";
import { DAY } from "../../limits/policies.ts";
import { compareWithEarlier, record } from "../events/events.ts";
import { eventsKeptFrom } from "../events/retention.ts";
import { forgotPage } from "../links/links.ts";
import { enqueueMail } from "../mail/mail.ts";
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

export interface SessionGrant {
  userId: string;
  session: { id: string; createdAt: Date };
  refreshToken: string;
}

/** The response to a sign-in (RFC 6749, section 5.1). `expires_in` is in seconds. */
export interface Token {
  access_token: string;
  token_type: "bearer";
  expires_in: number;
  refresh_token: string;
}

export interface KnownDevice {
  id: string;
  token: string;
}

/**
 * A device token from before `devicesKnownSince` does not count: another person may have had the
 * password then.
 */
export function findKnownDevice(
  { devices }: Ctx,
  { origin }: Pick<Anonymous, "origin">,
  user: User | undefined,
): KnownDevice | undefined {
  if (!user) return undefined;
  for (const token of origin?.deviceTokens ?? []) {
    const device = devices.read(token);
    if (device?.userId !== user.id) continue;
    const since = user.devicesKnownSince;
    if (!since || device.knownSince >= since) return { id: device.id, token };
  }
  return undefined;
}

/**
 * Starts a session for a user who has just authenticated, in the caller's transaction. Notifies the
 * user by mail if neither the device nor its IP and user agent are known, except at the first
 * sign-in of a new user. An unverified email gets no mail, because it may belong to another person.
 */
export async function beginSession(
  ctx: Ctx,
  actor: Anonymous,
  { user, device }: { user: User; device: KnownDevice | undefined },
): Promise<SessionGrant> {
  if (!device && user.emailVerified) await notifyOfNewDevice(ctx, actor, user);
  return startSession(ctx, actor, user.id);
}

async function notifyOfNewDevice(ctx: Ctx, actor: Anonymous, user: User): Promise<void> {
  const { id: subjectId, devicesKnownSince: since } = user;
  const event = { type: "session.started", subjectId, since } as const;
  const { isFirst, isKnownOrigin } = await compareWithEarlier(ctx, actor, event);
  // Events of older users may have been purged.
  const isNew = user.createdAt > eventsKeptFrom(ctx);
  if ((isFirst && isNew) || isKnownOrigin) return;
  const details = {
    device: (await deviceOf(actor.origin?.userAgent ?? null)) ?? UNKNOWN,
    address: actor.origin?.ip ?? UNKNOWN,
    time: `${ctx.now().toISOString().slice(0, 16).replace("T", " ")} UTC`,
  };
  await enqueueMail(ctx, { kind: "new_device", to: user, link: forgotPage(ctx), details });
}
const UNKNOWN = "?";

/**
 * Ends the least recently used sessions beyond `sessionsPerAccount`. Concurrent sign-ins may
 * briefly exceed that limit; the next sign-in trims it.
 */
async function startSession(ctx: Ctx, actor: Anonymous, userId: string): Promise<SessionGrant> {
  const now = ctx.now();
  const id = Bun.randomUUIDv7("hex", now);
  const [seed, secret] = [ctx.refreshSeeds.create(id), newSecret()];
  const surplus = inArray(
    sessions.id,
    leastRecentlyUsed(ctx, userId, ctx.config.sessionsPerAccount - 1),
  );
  await endWhere(ctx, actor, { userId, where: surplus });
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

/** Skips rows that another sign-in is deleting, so that neither waits for the other. */
function leastRecentlyUsed({ db }: Ctx, userId: string, kept: number) {
  const leastUsed = db
    .select({ id: sessions.id })
    .from(sessions)
    .where(eq(sessions.userId, userId))
    .orderBy(desc(sessions.lastUsedAt))
    .offset(kept);
  return db
    .select({ id: sessions.id })
    .from(sessions)
    .where(isInBatch(sessions.id, leastUsed))
    .for("update", { skipLocked: true });
}

export const sessionColumns = {
  id: sessions.id,
  userId: sessions.userId,
  ip: sessions.ip,
  userAgent: sessions.userAgent,
  createdAt: sessions.createdAt,
  lastUsedAt: sessions.lastUsedAt,
};

/** Whole seconds until a session ends, however often it is used. */
export const secondsLeftOf = ({ config, now }: Ctx, { createdAt }: { createdAt: Date }): number =>
  Math.floor((createdAt.getTime() - now().getTime()) / 1000) + config.sessionMaxDays * DAY;

/** The most recently used first. */
export function listSessions(ctx: Ctx, actor: UserActor): Promise<Session[]> {
  const bounds = boundsOf(ctx);
  return ctx.db
    .select(sessionColumns)
    .from(sessions)
    .where(and(eq(sessions.userId, actor.user.id), isAlive(bounds)))
    .orderBy(desc(sessions.lastUsedAt), desc(sessions.id))
    .limit(LISTED_MAX);
}
const LISTED_MAX = 1_000;

/** Throws `not_found`, also for a session of another user. */
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

export async function logOut(ctx: Ctx, actor: UserActor, scope: LogOutScope): Promise<void> {
  const currentId = actor.session.id;
  const which = {
    current: { only: currentId },
    others: { except: currentId },
    all: "all" as const,
  }[scope];
  await transaction(ctx, (tx) => endSessionsOf(tx, actor, { userId: actor.user.id, which }));
}

export type SessionSelection = "all" | { only: string } | { except: string };

/** Ends sessions of a user in the caller's transaction. Returns how many. */
export const endSessionsOf = (
  ctx: Ctx,
  actor: Actor,
  { userId, which }: { userId: string; which: SessionSelection },
): Promise<number> => endWhere(ctx, actor, { userId, where: conditionOf(which) });

const conditionOf = (which: SessionSelection): SQL | undefined => {
  if (which === "all") return undefined;
  return "only" in which ? eq(sessions.id, which.only) : ne(sessions.id, which.except);
};

async function endWhere(
  ctx: Ctx,
  actor: Actor,
  { userId, where }: { userId: string; where: SQL | undefined },
): Promise<number> {
  const ended = await ctx.db
    .delete(sessions)
    .where(and(eq(sessions.userId, userId), where))
    .returning({ session_id: sessions.id });
  const endedEvents = ended.map((data) => ({
    type: "session.ended" as const,
    subjectId: userId,
    data,
  }));
  await record(ctx, actor, endedEvents);
  return ended.length;
}

export function purgeSessions(ctx: Ctx): Promise<number> {
  const bounds = boundsOf(ctx);
  const isUnused = lt(sessions.lastUsedAt, new Date(bounds.usedFrom));
  const isTooOld = lt(sessions.createdAt, new Date(bounds.bornFrom));
  return deleteBatch(ctx.db, sessions.id, or(isUnused, isTooOld));
}

export async function issueToken(
  ctx: Ctx,
  { userId, session, refreshToken }: SessionGrant,
): Promise<Token> {
  const { id: sessionId, createdAt: authenticatedAt } = session;
  // An access token must not outlive its session.
  const lifetimeSeconds = Math.min(ctx.tokens.lifetimeSeconds, secondsLeftOf(ctx, session));
  const subject = { userId, sessionId, authenticatedAt, lifetimeSeconds };
  return {
    access_token: await ctx.tokens.sign(subject, ctx.now()),
    token_type: "bearer",
    expires_in: lifetimeSeconds,
    refresh_token: refreshToken,
  };
}

const SECOND_MS = 1000;
const DAY_MS = 86_400 * SECOND_MS;

/**
 * ISO strings: when a session must have been used and created to be alive, and when a token must
 * have been spent to be in the grace period.
 */
export function boundsOf({ config, now }: Ctx) {
  const time = now().getTime();
  const before = (ms: number) => new Date(time - ms).toISOString();
  return {
    now: before(0),
    graceFrom: before(config.refreshGraceSeconds * SECOND_MS),
    usedFrom: before(config.sessionIdleDays * DAY_MS),
    bornFrom: before(config.sessionMaxDays * DAY_MS),
  };
}

/** The bounds are times, or placeholders of a prepared statement. */
export const isAlive = ({ usedFrom, bornFrom }: Record<"usedFrom" | "bornFrom", unknown>): SQL =>
  sql`(${sessions.lastUsedAt} > ${usedFrom}::timestamptz and ${sessions.createdAt} > ${bornFrom}::timestamptz)`;
