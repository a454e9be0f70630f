import { and, eq, or, type SQL, sql } from "drizzle-orm";
import {
  newSecret,
  readRefreshToken,
  successorOf,
  writeRefreshToken,
} from "../../credentials/refresh-token.ts";
import type { Anonymous, Ctx } from "../../ctx.ts";
import { prepared } from "../../db/db.ts";
import { sha256 } from "../../kit/digest.ts";
import { Problem } from "../../kit/problem.ts";
import { type LimitUse, usesOf } from "../../limits/policies.ts";
import { users } from "../users/tables.ts";
import { deviceIn, endIfReused, isSameClient, recordRetry, tokenClientOf } from "./reuse.ts";
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
