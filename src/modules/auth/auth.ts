import { and, eq, sql } from "drizzle-orm";
import { rehashed } from "../../credentials/password.ts";
import { looksLikeRefreshToken, readRefreshToken } from "../../credentials/refresh-token.ts";
import type { Anonymous, Ctx, Principal, User, UserActor } from "../../ctx.ts";
import { prepared } from "../../db/db.ts";
import { transaction } from "../../db/transaction.ts";
import type { PrincipalKey } from "../../kit/principal-cache.ts";
import { Problem } from "../../kit/problem.ts";
import { type LimitUse, usesOf } from "../../limits/policies.ts";
import { settle } from "../addresses/addresses.ts";
import { refreshKeys } from "../keys/keys.ts";
import {
  type Credentials,
  findCredentials,
  isPasswordOf,
  lockIfUnchanged,
} from "../passwords/passwords.ts";
import {
  acceptRefreshToken,
  rotateSession,
  type SessionGrant,
  secondsLeftOf,
} from "../sessions/sessions.ts";
import { sessions } from "../sessions/tables.ts";
import { users } from "../users/tables.ts";
import { clearFailures, createUser, findUser, userColumns } from "../users/users.ts";
import { type Attempt, attemptOf, countSignIn, succeed } from "./attempt.ts";
import {
  isPendingRegistration,
  type RegistrationInput,
  registerQuietly,
} from "./quiet-registration.ts";
import { beginSession } from "./session-start.ts";

/** The response to a sign-in (RFC 6749, section 5.1). `expires_in` is in seconds. */
export interface Token {
  access_token: string;
  token_type: "bearer";
  expires_in: number;
  refresh_token: string;
}

/** The token response, and the device token that identifies the client from now on. */
export interface SignIn {
  token: Token;
  deviceToken: string;
}

/**
 * Registers a user. If emails must be verified first (`REQUIRE_EMAIL_VERIFICATION`), it returns
 * undefined whether or not a user has the email, and takes the same time (CWE-204, CWE-208). A mail
 * to that email says which. Throws `registration_closed`, `too_many_requests`, and what
 * `createUser` throws.
 */
export async function register(
  ctx: Ctx,
  actor: Anonymous,
  input: RegistrationInput,
): Promise<User | undefined> {
  if (ctx.config.registration === "closed") throw new Problem("registration_closed");
  ctx.hashing.refuseIfFull();
  const isQuiet = ctx.config.requireEmailVerification === "on";
  return ctx.limits.attempt(actor.origin, usesOf("register", actor.origin), () =>
    isQuiet
      ? registerQuietly(ctx, actor, input)
      : createUser(ctx, actor, { ...input, verification: "asked" }),
  );
}

/**
 * Signs a user in by email or username. An unknown name and a wrong password both throw
 * `invalid_credentials`, after the same time (CWE-208). Only a caller who knows the password gets
 * `account_inactive` or `email_not_verified`. A password that was recently registered with the
 * email also gets `email_not_verified` (`isPendingRegistration`). Throws `too_many_requests` for
 * the limits of `attemptOf`, and `busy`.
 */
export async function logIn(
  ctx: Ctx,
  actor: Anonymous,
  input: { username: string; password: string },
): Promise<SignIn> {
  ctx.hashing.refuseIfFull();
  // Read the time before the password hash: if the password changes meanwhile, this device stays
  // unknown.
  const knownSince = ctx.now();
  const found = await findCredentials(ctx, input.username);
  const attempt = attemptOf(ctx, actor, { name: input.username, found });
  const started = await ctx.limits.attempt(actor.origin, attempt.uses, async () => {
    const verified = await verifyCredentials(ctx, input.password, found);
    if (verified && !verified.found.isActive) throw new Problem("account_inactive");
    if (!verified || !canSignIn(ctx, verified.found)) {
      // Check this in both cases, so that they take the same time (CWE-208).
      const isUnverified = await isPendingRegistration(ctx, input);
      throw new Problem(isUnverified || verified ? "email_not_verified" : "invalid_credentials");
    }
    await countSignIn(ctx, actor, { userId: verified.found.id, attempt });
    return start(ctx, actor, { ...verified, attempt });
  });
  return {
    token: await tokenFor(ctx, started),
    deviceToken: attempt.device?.token ?? ctx.devices.sign(started.userId, knownSince),
  };
}

const canSignIn = ({ config }: Ctx, { emailVerified }: User): boolean =>
  config.requireEmailVerification === "off" || emailVerified;

/** The verified credentials, a new hash if the stored one is outdated, and the sign-in attempt. */
interface Verified {
  found: Credentials;
  upgraded: string | undefined;
  attempt: Attempt;
}

/**
 * Throws `invalid_credentials` if the password changed since it was verified, or the user is no
 * longer active.
 */
function start(
  ctx: Ctx,
  actor: Anonymous,
  { found, upgraded, attempt }: Verified,
): Promise<SessionGrant> {
  return transaction(ctx, async (tx) => {
    await lockIfUnchanged(tx.db, found, upgraded);
    await succeed(tx, attempt);
    if (found.wantedUsername !== null) {
      await settle(tx, found.id);
      await clearFailures(tx, (await findUser(tx, found.id)) ?? found);
    }
    return beginSession(tx, actor, { user: found, device: attempt.device });
  });
}

/**
 * Returns undefined if the password is wrong. Otherwise returns the credentials, and a new hash if
 * the stored one is outdated.
 */
async function verifyCredentials(
  ctx: Ctx,
  password: string,
  found: Credentials | undefined,
): Promise<Omit<Verified, "attempt"> | undefined> {
  const candidate = { userId: found?.id, password, hash: found?.passwordHash };
  if (!(await isPasswordOf(ctx, candidate)) || !found) return undefined;
  return { found, upgraded: await rehashed(ctx.hashing, { password, hash: found.passwordHash }) };
}

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

const sessionOfRefreshToken = ({ refreshSeeds }: Ctx, refreshToken: string): string | undefined => {
  const token = readRefreshToken(refreshToken);
  return token && refreshSeeds.isOurs(token) ? token.sessionId : undefined;
};

/**
 * The limits of a request whose token may be invalid. A token that this server issued counts by its
 * session; any other token counts as an anonymous request. It never counts by the token's user: an
 * attacker with an old token could use up that user's limit.
 */
export function usesOfToken(ctx: Ctx, { origin }: Anonymous, token: string): LimitUse[] {
  const session = looksLikeRefreshToken(token)
    ? sessionOfRefreshToken(ctx, token)
    : ctx.tokens.signedFor(token, ctx.now());
  if (!session) return usesOf("requests-anonymous", origin);
  return [{ limit: "requests", who: `session ${session}` }];
}

/** The token response for a session that was started or continued. */
export async function tokenFor(
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

/**
 * The user and session of an access token. Both were active less than a second ago (the principal
 * cache). Returns undefined otherwise.
 */
export async function findActor(ctx: Ctx, token: string): Promise<UserActor | undefined> {
  const claims = ctx.tokens.verify(token, ctx.now());
  if (!claims) return (await refreshKeys(ctx, token)) ? findActor(ctx, token) : undefined;
  const key = { userId: claims.sub, sessionId: claims.sid };
  const found = await ctx.principals.find(key, () => readPrincipal(ctx, key));
  return found && { kind: "user", user: found.user, session: found.session };
}

async function readPrincipal(
  { db }: Ctx,
  { userId, sessionId }: PrincipalKey,
): Promise<Principal | undefined> {
  const [found] = await principalBySession(db).execute({ sid: sessionId, sub: userId });
  return found;
}

/** The user and session of a refresh token, which is not spent. See `acceptRefreshToken`. */
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

/** Accepts an access token or a refresh token. */
export const findHolder = (
  ctx: Ctx,
  actor: Anonymous,
  token: string,
): Promise<UserActor | undefined> =>
  looksLikeRefreshToken(token) ? findByRefreshToken(ctx, actor, token) : findActor(ctx, token);
