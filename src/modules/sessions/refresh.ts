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
import { boundsOf, isAlive, type SessionGrant, type Token, tokenFor } from "./sessions.ts";
import { sessions } from "./tables.ts";

/** Continues a session (`rotateSession`). Throws `too_many_requests`, `invalid_refresh_token`. */
export async function refresh(ctx: Ctx, actor: Anonymous, refreshToken: string): Promise<Token> {
  await ctx.limits.consume(actor.origin, refreshUses(ctx, actor, refreshToken));
  return tokenFor(ctx, await rotateSession(ctx, actor, refreshToken));
}

/**
 * A refresh token that this server issued counts by session, any other token by client IP. So
 * made-up tokens do not block clients that share their IP.
 */
function refreshUses(ctx: Ctx, { origin }: Anonymous, refreshToken: string): LimitUse[] {
  const sessionId = sessionOfRefreshToken(ctx, refreshToken);
  if (!sessionId) return usesOf("refresh-address", origin);
  return [{ limit: "refresh-session", who: sessionId }];
}

/** The session of a refresh token that this server issued, whatever became of the token. */
export const sessionOfRefreshToken = (
  { refreshSeeds }: Ctx,
  refreshToken: string,
): string | undefined => {
  const token = readRefreshToken(refreshToken);
  return token && refreshSeeds.isOurs(token) ? token.sessionId : undefined;
};

/**
 * Spends a refresh token and returns its successor (RFC 9700, section 4.14.2). Throws
 * `invalid_refresh_token` for every token that is not accepted. A spent token that a second party
 * uses ends its session (`endIfReused`).
 */
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

/** The client that sends a refresh token, as far as its request identifies it. */
export interface TokenClient {
  /** JSON: device ids by user id. */
  devices: string;
  /** SHA-256 of the client's network and user agent. */
  fingerprint: Buffer;
}

export function tokenClientOf({ devices }: Ctx, { origin }: Anonymous): TokenClient {
  const known = (origin?.deviceTokens ?? []).flatMap((token) => devices.read(token) ?? []);
  // Use the first device token of each user: a client sends its device tokens in the same order
  // each time.
  const byUser = Object.fromEntries(known.reverse().map(({ userId, id }) => [userId, id]));
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
 * only the device tokens are compared. Then the client may change its network, and an attacker on
 * the same network is another client. A row that an earlier version of Bunker rotated has no
 * client, and any client matches.
 */
const isSameClient = (client: Record<keyof TokenClient, unknown> | undefined) =>
  client
    ? sql<boolean>`(${sessions.rotatedBy} is null or (
    ${sessions.rotatedByDevice} is not distinct from ${deviceIn(client.devices)}
    and (${sessions.rotatedByDevice} is not null or ${sessions.rotatedBy} = ${client.fingerprint}::bytea)))`
    : sql<boolean>`true`;

const slot = (name: string) => sql.placeholder(name);
/** Matches the current token by its hash. */
export const isCurrentToken = (hash: unknown): SQL => sql`${sessions.currentHash} = ${hash}::bytea`;
/**
 * Matches the token that was spent last, if it was spent within the grace period and the same
 * client sends it again.
 */
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
 * One statement decides. It spends the current token and stores its successor. The token that was
 * just spent gets the same successor again if the client that rotated it sends it. Of two
 * concurrent requests, the second sees what the first has written.
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
      rotatedBy: ifCurrent(sql`${slot("fingerprint")}::bytea`, sql`${sessions.rotatedBy}`),
      retries: ifCurrent(sql`${sessions.retries}`, sql`${sessions.retries} + 1`),
      currentHash: ifCurrent(sql`${slot("successorHash")}::bytea`, sql`${sessions.currentHash}`),
    })
    .from(users)
    .where(
      and(
        eq(sessions.id, slot("id")),
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

/**
 * A refresh token as one client sends it. `client` is undefined if another party asks about the
 * token.
 */
interface PresentedToken {
  token: RefreshToken;
  client: TokenClient | undefined;
}

/**
 * Ends the session of a rejected refresh token if a second party uses the spent token: after the
 * grace period, or from another client than the one that rotated it. A late retry of that client
 * within the grace period ends nothing. A token that this server did not issue ends nothing.
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
  // Only the latest rotation times are kept. An older token was spent no later than the oldest of
  // them.
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

/**
 * Records that a client got the same successor again. At most 20 an hour for each user, so that
 * retries cannot fill the events table.
 */
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
