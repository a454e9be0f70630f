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
import { lookForKey } from "../keys/keys.ts";
import {
  type Credentials,
  findCredentials,
  holdVerified,
  isPasswordOf,
} from "../passwords/passwords.ts";
import {
  acceptRefreshToken,
  type Continuation,
  rotateSession,
  secondsLeftOf,
} from "../sessions/sessions.ts";
import { sessions } from "../sessions/tables.ts";
import { users } from "../users/tables.ts";
import { clearFailures, createUser, findUser, userColumns } from "../users/users.ts";
import { type Attempt, attemptOf, countSignIn, succeed } from "./attempt.ts";
import { type RegistrationInput, registerQuietly, waitsForProof } from "./quiet-registration.ts";
import { beginSession } from "./session-start.ts";

/** The answer to a sign-in (RFC 6749, section 5.1). `expires_in` is in seconds. */
export interface Token {
  access_token: string;
  token_type: "bearer";
  expires_in: number;
  refresh_token: string;
}

/** A token, and by what the client is known from now on. */
export interface SignIn {
  token: Token;
  deviceToken: string;
}

/**
 * Makes an account for whoever comes. Where addresses must be proven first, it answers nothing, alike and after the same time
 * whether or not somebody has the address, and a mail says which. Throws `registration_closed`, `too_many_requests`, and what
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
 * Signs somebody in by e-mail address or username. Throws `invalid_credentials`, alike and after the same time for an
 * unknown name and a wrong password; only who knows the password learns that the account is off (`account_inactive`), or its
 * address to be proven first (`email_not_verified`). Throws `too_many_requests` as `attemptOf` says, and `busy`.
 */
export async function logIn(
  ctx: Ctx,
  actor: Anonymous,
  input: { username: string; password: string },
): Promise<SignIn> {
  ctx.hashing.refuseIfFull();
  // Before the password is read: one that is changed meanwhile makes this device unknown.
  const knownSince = ctx.now();
  const found = await findCredentials(ctx, input.username);
  const attempt = attemptOf(ctx, actor, { name: input.username, found });
  const started = await ctx.limits.attempt(actor.origin, attempt.uses, async () => {
    const verified = await judge(ctx, input.password, found);
    if (verified && !verified.found.isActive) throw new Problem("account_inactive");
    if (!verified || !mayEnter(ctx, verified.found)) {
      // Asked for each of them, so that none takes longer than others.
      const isWaiting = await waitsForProof(ctx, input);
      throw new Problem(isWaiting || verified ? "email_not_verified" : "invalid_credentials");
    }
    await countSignIn(ctx, actor, { userId: verified.found.id, attempt });
    return start(ctx, actor, { ...verified, attempt });
  });
  return {
    token: await tokenFor(ctx, started),
    deviceToken: attempt.device?.token ?? ctx.devices.sign(started.userId, knownSince),
  };
}

const mayEnter = ({ config }: Ctx, { emailVerified }: User): boolean =>
  config.requireEmailVerification === "off" || emailVerified;

/** What was verified, the hash to keep from now on where it is time for another, and what the try counted against. */
interface Verified {
  found: Credentials;
  upgraded: string | undefined;
  attempt: Attempt;
}

/** Throws `invalid_credentials` where the account is not any more what was verified. */
function start(
  ctx: Ctx,
  actor: Anonymous,
  { found, upgraded, attempt }: Verified,
): Promise<Continuation> {
  return transaction(ctx, async (tx) => {
    await holdVerified(tx.db, found, upgraded);
    await succeed(tx, attempt);
    if (found.wantedUsername !== null) {
      await settle(tx, found.id);
      await clearFailures(tx, (await findUser(tx, found.id)) ?? found);
    }
    return beginSession(tx, actor, { user: found, device: attempt.device });
  });
}

/** Undefined where the password is not right; else whose it is, and the hash to keep from now on where it is time for another one. */
async function judge(
  ctx: Ctx,
  password: string,
  found: Credentials | undefined,
): Promise<Omit<Verified, "attempt"> | undefined> {
  const given = { userId: found?.id, password, hash: found?.passwordHash };
  if (!(await isPasswordOf(ctx, given)) || !found) return undefined;
  return { found, upgraded: await rehashed(ctx.hashing, { password, hash: found.passwordHash }) };
}

/** Continues a session. Throws `too_many_requests` and `invalid_refresh_token`; see `rotateSession`. */
export async function refresh(ctx: Ctx, actor: Anonymous, refreshToken: string): Promise<Token> {
  await ctx.limits.consume(actor.origin, refreshUses(ctx, actor, refreshToken));
  return tokenFor(ctx, await rotateSession(ctx, actor, refreshToken));
}

/** A token that proves that we issued it counts by its session: made-up ones keep out no client that shares their IP. */
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
 * What a request counts against whose token may not be good, by the same rule: the session of a token that we issued, or the
 * client's IP. Not the user of the token: an attacker with an old token would use up what the user may request.
 */
export function usesOfToken(ctx: Ctx, { origin }: Anonymous, token: string): LimitUse[] {
  const session = looksLikeRefreshToken(token)
    ? sessionOfRefreshToken(ctx, token)
    : ctx.tokens.signedFor(token, ctx.now());
  if (!session) return usesOf("requests-stranger", origin);
  return [{ limit: "requests", who: `session ${session}` }];
}

/** The answer to whoever starts or continues a session. */
export async function tokenFor(
  ctx: Ctx,
  { userId, session, refreshToken }: Continuation,
): Promise<Token> {
  const { id: sessionId, createdAt: authenticatedAt } = session;
  // No token is good for longer than its session may last.
  const lifetimeSeconds = Math.min(ctx.tokens.lifetimeSeconds, secondsLeftOf(ctx, session));
  const subject = { userId, sessionId, authenticatedAt, lifetimeSeconds };
  return {
    access_token: await ctx.tokens.sign(subject, ctx.now()),
    token_type: "bearer",
    expires_in: lifetimeSeconds,
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
export async function findActor(ctx: Ctx, token: string): Promise<UserActor | undefined> {
  const claims = ctx.tokens.verify(token, ctx.now());
  if (!claims) return (await lookForKey(ctx, token)) ? findActor(ctx, token) : undefined;
  const key = { userId: claims.sub, sessionId: claims.sid };
  const found = await ctx.principals.find(key, () => readPrincipal(ctx, key));
  return found && { kind: "user", user: found.user, session: found.session };
}

async function readPrincipal(
  { db }: Ctx,
  { userId, sessionId }: PrincipalKey,
): Promise<Principal | undefined> {
  const [found] = await bySession(db).execute({ sid: sessionId, sub: userId });
  return found;
}

/** The same for the refresh token of a session, which it does not spend; see `acceptRefreshToken`. */
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

/** The same for either kind of token. */
export const findHolder = (
  ctx: Ctx,
  actor: Anonymous,
  token: string,
): Promise<UserActor | undefined> =>
  looksLikeRefreshToken(token) ? findByRefreshToken(ctx, actor, token) : findActor(ctx, token);
