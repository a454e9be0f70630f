import { and, eq, or, sql } from "drizzle-orm";
import { looksLikeRefreshToken, readRefreshToken } from "../../credentials/refresh-token.ts";
import type { Anonymous, Ctx, Principal, UserActor } from "../../ctx.ts";
import { prepared } from "../../db/db.ts";
import { sha256 } from "../../kit/digest.ts";
import type { PrincipalKey } from "../../kit/principal-cache.ts";
import { type LimitUse, usesOf } from "../../limits/policies.ts";
import { reloadKeys } from "../keys/keys.ts";
import { userColumns, users } from "../users/tables.ts";
import {
  endIfReused,
  isCurrentToken,
  isRetriedToken,
  isSeed,
  sessionOfRefreshToken,
  type TokenClient,
  tokenClientOf,
} from "./refresh.ts";
import { boundsOf, isAlive, type Session, sessionColumns } from "./sessions.ts";
import { sessions } from "./tables.ts";

/** The user and session of an access token, if both were active less than a second ago. */
export async function findActor(ctx: Ctx, token: string): Promise<UserActor | undefined> {
  const claims = ctx.tokens.verify(token, ctx.now());
  if (!claims) return (await reloadKeys(ctx, token)) ? findActor(ctx, token) : undefined;
  const key = { userId: claims.sub, sessionId: claims.sid };
  const found = await ctx.principals.find(key, () => readPrincipal(ctx, key));
  const expiresAt = new Date(claims.exp * 1000);
  return found && { kind: "user", user: found.user, session: found.session, expiresAt };
}

async function readPrincipal(
  { db }: Ctx,
  { userId, sessionId }: PrincipalKey,
): Promise<Principal | undefined> {
  const [found] = await principalBySession(db).execute({ sid: sessionId, sub: userId });
  return found;
}

const principalBySession = prepared((db) =>
  db
    .select({ user: userColumns, session: { id: sessions.id, createdAt: sessions.createdAt } })
    .from(sessions)
    .innerJoin(users, eq(users.id, sessions.userId))
    .where(
      and(
        eq(sessions.id, sql.placeholder("sid")),
        eq(users.id, sql.placeholder("sub")),
        users.isActive,
      ),
    )
    .prepare("user_by_session"),
);

/** The user and session of a refresh token, which is not spent. */
export async function findByRefreshToken(
  ctx: Ctx,
  actor: Anonymous,
  token: string,
): Promise<UserActor | undefined> {
  const found = looksLikeRefreshToken(token)
    ? await acceptRefreshToken(ctx, actor, token)
    : undefined;
  if (!found) return undefined;
  const principal = await readPrincipal(ctx, { userId: found.userId, sessionId: found.id });
  return principal && { kind: "user", ...principal };
}

export const findByEitherToken = (
  ctx: Ctx,
  actor: Anonymous,
  token: string,
): Promise<UserActor | undefined> =>
  looksLikeRefreshToken(token) ? findByRefreshToken(ctx, actor, token) : findActor(ctx, token);

/**
 * Accepts the current token, and within the grace period the one that the same client spent. Does
 * not spend it. Reuse ends the session.
 */
export const acceptRefreshToken = (
  ctx: Ctx,
  actor: Anonymous,
  refreshToken: string,
): Promise<Session | undefined> =>
  findByToken(ctx, actor, { refreshToken, client: tokenClientOf(ctx, actor) });

/** For another party that asks about the token: only the grace period counts, not the client. */
export const inspectRefreshToken = (
  ctx: Ctx,
  actor: Anonymous,
  refreshToken: string,
): Promise<Session | undefined> => findByToken(ctx, actor, { refreshToken, client: undefined });

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
    .select(sessionColumns)
    .from(sessions)
    .innerJoin(users, and(eq(users.id, sessions.userId), users.isActive))
    .where(
      and(
        eq(sessions.id, token.sessionId),
        isSeed(sha256(token.seed)),
        isAcceptedToken,
        isAlive(bounds),
      ),
    );
  if (!found) await endIfReused(ctx, actor, { token, client });
  return found;
}

/**
 * A token that this server issued counts by its session, any other as an anonymous request. Not by
 * the token's user: an attacker with an old token could use up that user's limit.
 */
export function usesOfToken(ctx: Ctx, { origin }: Anonymous, token: string): LimitUse[] {
  const session = looksLikeRefreshToken(token)
    ? sessionOfRefreshToken(ctx, token)
    : ctx.tokens.findSubjectId(token, ctx.now());
  if (!session) return usesOf("requests-anonymous", origin);
  return [{ limit: "requests", who: `session ${session}` }];
}
