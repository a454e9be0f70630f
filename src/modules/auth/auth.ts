import { and, eq, sql } from "drizzle-orm";
import type { Actor, Ctx, Principal, SignedIn, Stranger, User } from "../../ctx.ts";
import { prepared } from "../../db/db.ts";
import { sessions, users } from "../../db/schema.ts";
import { verifyPassword } from "../../kit/password.ts";
import type { PrincipalKey } from "../../kit/principal-cache.ts";
import { Problem } from "../../kit/problem.ts";
import { looksLikeRefreshToken } from "../../kit/refresh-token.ts";
import {
  type Continuation,
  findSession,
  rotateSession,
  startSession,
} from "../sessions/sessions.ts";
import { createUser, findCredentials, type NewUser, userColumns } from "../users/users.ts";

/** The answer to a sign-in (RFC 6749, section 5.1). `expires_in` is in seconds. */
export interface Token {
  access_token: string;
  token_type: "bearer";
  expires_in: number;
  refresh_token: string;
}

/** Makes an account for whoever comes. Throws `registration_closed`, and what `createUser` throws. */
export async function register(
  ctx: Pick<Ctx, "config" | "db" | "hashing" | "now">,
  actor: Actor,
  input: Omit<NewUser, "isSuperuser">,
): Promise<User> {
  if (ctx.config.registration === "closed") throw new Problem("registration_closed");
  return createUser(ctx, actor, input);
}

/**
 * Signs somebody in by e-mail address or username. Throws `invalid_credentials`, alike and after the same time for an
 * unknown name and a wrong password; only who knows the password learns that the account is off (`account_inactive`).
 */
export async function logIn(
  ctx: Pick<Ctx, "db" | "hashing" | "now" | "tokens">,
  actor: Stranger,
  input: { username: string; password: string },
): Promise<Token> {
  ctx.hashing.knock();
  const found = await findCredentials(ctx, input.username);
  if (!(await verifyPassword(ctx.hashing, input.password, found?.passwordHash)) || !found)
    throw new Problem("invalid_credentials");
  if (!found.isActive) throw new Problem("account_inactive");
  const started = await ctx.db.transaction(async (tx) => {
    // Hashing takes a while: a password that was changed meanwhile, or an account switched off, must not get a session
    // behind the back of what ended the others. The lock makes whoever changes it wait, and end this session too.
    const [still] = await tx
      .select({ id: users.id })
      .from(users)
      .where(
        and(eq(users.id, found.id), eq(users.passwordHash, found.passwordHash), users.isActive),
      )
      .for("share");
    if (!still) throw new Problem("invalid_credentials");
    return startSession({ ...ctx, db: tx }, actor, found.id);
  });
  return tokenFor(ctx, started);
}

/** Continues a session. Throws `invalid_refresh_token`; see `rotateSession`. */
export async function refresh(
  ctx: Pick<Ctx, "config" | "db" | "now" | "tokens">,
  actor: Stranger,
  refreshToken: string,
): Promise<Token> {
  return tokenFor(ctx, await rotateSession(ctx, actor, refreshToken));
}

async function tokenFor(
  { tokens, now }: Pick<Ctx, "now" | "tokens">,
  { userId, session, refreshToken }: Continuation,
): Promise<Token> {
  const subject = { userId, sessionId: session.id, authenticatedAt: session.createdAt };
  return {
    access_token: await tokens.sign(subject, now()),
    token_type: "bearer",
    expires_in: tokens.lifetimeSeconds,
    refresh_token: refreshToken,
  };
}

const bySession = prepared((db) =>
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

/** Who holds this access token: an active account in a session that goes on, as both were less than a second ago. */
export async function findActor(
  ctx: Pick<Ctx, "db" | "now" | "principals" | "tokens">,
  token: string,
): Promise<SignedIn | undefined> {
  const claims = ctx.tokens.verify(token, ctx.now());
  if (!claims) return undefined;
  const key = { userId: claims.sub, sessionId: claims.sid };
  const found = await ctx.principals.find(key, () => readPrincipal(ctx, key));
  return found && { kind: "user", user: found.user, session: found.session };
}

async function readPrincipal(
  { db }: Pick<Ctx, "db">,
  { userId, sessionId }: PrincipalKey,
): Promise<Principal | undefined> {
  const [found] = await bySession(db).execute({ sid: sessionId, sub: userId });
  return found;
}

/** The same for the refresh token of a session, which is not spent by it; or for an access token. */
export async function findHolder(
  ctx: Pick<Ctx, "config" | "db" | "now" | "principals" | "tokens">,
  token: string,
): Promise<SignedIn | undefined> {
  if (!looksLikeRefreshToken(token)) return findActor(ctx, token);
  const found = await findSession(ctx, token);
  if (!found) return undefined;
  const holder = await readPrincipal(ctx, { userId: found.userId, sessionId: found.id });
  return holder && { kind: "user", ...holder };
}
