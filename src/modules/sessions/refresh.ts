import { and, eq, getTableColumns, or, type SQL, sql } from "drizzle-orm";
import {
  newSecret,
  type RefreshToken,
  readRefreshToken,
  successorOf,
  writeRefreshToken,
} from "../../credentials/refresh-token.ts";
import type { Anonymous, Ctx } from "../../ctx.ts";
import { prepared } from "../../db/db.ts";
import { lockUsers } from "../../db/locks.ts";
import { transaction } from "../../db/transaction.ts";
import { sha256 } from "../../kit/digest.ts";
import { networkOf } from "../../kit/network.ts";
import { Problem } from "../../kit/problem.ts";
import { type LimitUse, usesOf } from "../../limits/policies.ts";
import { countSince, record } from "../events/events.ts";
import { forgotPage } from "../links/links.ts";
import { enqueueMail } from "../mail/mail.ts";
import { users } from "../users/tables.ts";
import { boundsOf, isAlive, issueToken, type SessionGrant, type Token } from "./sessions.ts";
import { sessions } from "./tables.ts";

/** Continues a session. Throws `too_many_requests`, `invalid_refresh_token`. */
export async function refresh(ctx: Ctx, actor: Anonymous, refreshToken: string): Promise<Token> {
  await ctx.limits.consume(actor.origin, refreshUses(ctx, actor, refreshToken));
  return issueToken(ctx, await rotateSession(ctx, actor, refreshToken));
}

/** Made-up tokens count by client IP, so they do not block sessions of clients that share it. */
function refreshUses(ctx: Ctx, { origin }: Anonymous, refreshToken: string): LimitUse[] {
  const sessionId = sessionOfRefreshToken(ctx, refreshToken);
  if (!sessionId) return usesOf("refresh-address", origin);
  return [{ limit: "refresh-session", who: sessionId }];
}

/** The session of a token that this server issued, whether or not the token is still valid. */
export const sessionOfRefreshToken = (
  { refreshSeeds }: Ctx,
  refreshToken: string,
): string | undefined => {
  const token = readRefreshToken(refreshToken);
  return token && refreshSeeds.isOurs(token) ? token.sessionId : undefined;
};

/** Spends a refresh token (RFC 9700, section 4.14.2). Throws `invalid_refresh_token`. */
async function rotateSession(
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
    seedHash: sha256(token.seed),
    hash: sha256(token.secret),
    successorHash: sha256(successorOf(token.secret, nonce)),
    nonce,
  });
  // A row that was rotated has a nonce.
  if (!row?.nonce) {
    await endIfReused(ctx, actor, { token, client });
    throw new Problem("invalid_refresh_token");
  }
  const { userId, createdAt, generation } = row;
  const isRetry = !row.nonce.equals(nonce);
  if (isRetry) await recordRetry(ctx, actor, { userId, sessionId: token.sessionId });
  const successor = { ...token, generation, secret: successorOf(token.secret, row.nonce) };
  return {
    userId,
    session: { id: token.sessionId, createdAt },
    refreshToken: writeRefreshToken(successor),
  };
}

/** The client that sends a refresh token, as far as its request identifies it. */
export interface TokenClient {
  /** JSON: device ids by user id. */
  devices: string;
  /** SHA-256 of the client's network and user agent. */
  fingerprint: Buffer;
}

export function tokenClientOf({ devices }: Ctx, { origin }: Anonymous): TokenClient {
  const known = (origin?.deviceTokens ?? []).flatMap((token) => devices.read(token) ?? []);
  const byUser: Record<string, string> = {};
  // The first device token of each user: a client sends its tokens in the same order each time.
  for (const { userId, id } of known) byUser[userId] ??= id;
  const network = origin?.ip ? networkOf(origin.ip) : "";
  return {
    devices: JSON.stringify(byUser),
    fingerprint: sha256(`${network}\n${origin?.userAgent ?? ""}`),
  };
}

const deviceIn = (devices: unknown): SQL =>
  sql`(${devices}::jsonb ->> ${sessions.userId}::text)::uuid`;

/**
 * Whether this client rotated the session last. If either request has a device token of the user,
 * only the device tokens are compared: the client may change its network, and an attacker on the
 * same network is another client. True for an undefined client, and for rows of versions that
 * stored no client.
 */
const isSameClient = (client: Record<keyof TokenClient, unknown> | undefined) =>
  client
    ? sql<boolean>`(${sessions.rotatedByFingerprint} is null or (
    ${sessions.rotatedByDevice} is not distinct from ${deviceIn(client.devices)}
    and (${sessions.rotatedByDevice} is not null or ${sessions.rotatedByFingerprint} = ${client.fingerprint}::bytea)))`
    : sql<boolean>`true`;

const slot = (name: string) => sql.placeholder(name);
/** Matches all tokens of the session, also spent ones. */
export const isSeed = (hash: unknown): SQL => sql`${sessions.seedHash} = ${hash}::bytea`;
export const isCurrentToken = (hash: unknown): SQL => sql`${sessions.currentHash} = ${hash}::bytea`;
/** Matches the token that the same client spent last, within the grace period. */
export const isRetriedToken = (
  hash: unknown,
  { graceFrom, client }: { graceFrom: unknown; client: Parameters<typeof isSameClient>[0] },
): SQL =>
  sql`(${sessions.previousHash} = ${hash}::bytea and ${sessions.rotations}[1] > ${graceFrom}::timestamptz
    and ${isSameClient(client)})`;

const isCurrent = isCurrentToken(slot("hash"));
const isRetry = isRetriedToken(slot("hash"), {
  graceFrom: slot("graceFrom"),
  client: { devices: slot("devices"), fingerprint: slot("fingerprint") },
});
const ROTATIONS_KEPT = sql.raw("8");
const ifCurrent = (value: SQL, kept: SQL) =>
  sql`case when ${isCurrent} then ${value} else ${kept} end`;

/**
 * Spends the current token and stores its successor. The client that spent the last token gets the
 * same successor again if it retries. One statement decides: of two concurrent requests, the second
 * waits for the row, and PostgreSQL evaluates the conditions again (READ COMMITTED).
 */
export const rotation = prepared((db) =>
  db
    .update(sessions)
    .set({
      previousHash: ifCurrent(sql`${slot("hash")}::bytea`, sql`${sessions.previousHash}`),
      nonce: ifCurrent(sql`${slot("nonce")}::bytea`, sql`${sessions.nonce}`),
      generation: ifCurrent(sql`${sessions.generation} + 1`, sql`${sessions.generation}`),
      rotations: ifCurrent(
        sql`(array_prepend(${slot("now")}::timestamptz, ${sessions.rotations}))[1:${ROTATIONS_KEPT}]`,
        sql`${sessions.rotations}`,
      ),
      lastUsedAt: sql`${slot("now")}::timestamptz`,
      rotatedByDevice: ifCurrent(deviceIn(slot("devices")), sql`${sessions.rotatedByDevice}`),
      rotatedByFingerprint: ifCurrent(
        sql`${slot("fingerprint")}::bytea`,
        sql`${sessions.rotatedByFingerprint}`,
      ),
      retries: ifCurrent(sql`${sessions.retries}`, sql`${sessions.retries} + 1`),
      currentHash: ifCurrent(sql`${slot("successorHash")}::bytea`, sql`${sessions.currentHash}`),
    })
    .from(users)
    .where(
      and(
        eq(sessions.id, slot("id")),
        isSeed(slot("seedHash")),
        eq(sessions.userId, users.id),
        users.isActive,
        isAlive({ usedFrom: slot("usedFrom"), bornFrom: slot("bornFrom") }),
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

/** `client` is undefined if another party asks about the token. */
interface PresentedToken {
  token: RefreshToken;
  client: TokenClient | undefined;
}

/**
 * Ends the session of a spent token: two parties may have it. Ends nothing for a late duplicate:
 * spent within the grace period, and sent by the client that rotated last.
 */
export async function endIfReused(
  ctx: Ctx,
  actor: Anonymous,
  presented: PresentedToken,
): Promise<void> {
  await transaction(ctx, (tx) => endReused(tx, actor, presented));
}

async function endReused(
  ctx: Ctx,
  actor: Anonymous,
  { token, client }: PresentedToken,
): Promise<void> {
  const [session] = await ctx.db
    .select({ ...getTableColumns(sessions), isSameClient: isSameClient(client) })
    .from(sessions)
    .where(eq(sessions.id, token.sessionId))
    .for("update");
  if (!session?.seedHash.equals(sha256(token.seed))) return;
  const { id, userId, generation, rotations } = session;
  const age = generation - token.generation;
  if (age < 1) return;
  // An older token was spent no later than the oldest time that is kept.
  const spentAt = rotations[age - 1] ?? rotations.at(-1);
  const isInGrace = spentAt !== undefined && spentAt > new Date(boundsOf(ctx).graceFrom);
  if (isInGrace && session.isSameClient) return;
  await ctx.db.delete(sessions).where(eq(sessions.id, id));
  await record(ctx, actor, {
    type: "session.reuse_detected",
    subjectId: userId,
    data: { session_id: id },
  });
  const [to] = await ctx.db
    .select({ id: users.id, email: users.email, locale: users.locale })
    .from(users)
    .where(and(eq(users.id, userId), users.emailVerified));
  if (to) await enqueueMail(ctx, { kind: "reuse_detected", to, link: forgotPage(ctx) });
}

const RECORDED_MAX = 20;
const HOUR_MS = 3_600_000;

/** At most 20 an hour for each user, so that retries cannot fill the events table. */
async function recordRetry(
  ctx: Ctx,
  actor: Anonymous,
  { userId, sessionId }: { userId: string; sessionId: string },
): Promise<void> {
  await transaction(ctx, async (tx) => {
    // Serialize parallel retries, so that each counts the others.
    await lockUsers(tx.db, eq(users.id, userId));
    const type = "session.refresh_retried";
    const since = new Date(ctx.now().getTime() - HOUR_MS);
    if ((await countSince(tx, { type, subjectId: userId, since })) >= RECORDED_MAX) return;
    const data = { session_id: sessionId };
    await record(tx, actor, { type, subjectId: userId, data });
  });
}
