import { rehashed } from "../../credentials/password.ts";
import type { Anonymous, Ctx, User } from "../../ctx.ts";
import { transaction } from "../../db/transaction.ts";
import { Problem } from "../../kit/problem.ts";
import { ALL, failuresOf, type LimitUse, usesOf } from "../../limits/policies.ts";
import { settle } from "../addresses/addresses.ts";
import {
  type Credentials,
  findCredentials,
  isPasswordOf,
  lockIfUnchanged,
} from "../passwords/passwords.ts";
import { isPendingRegistration } from "../registration/registration.ts";
import {
  beginSession,
  type KnownDevice,
  knownDevice,
  type SessionGrant,
  type Token,
  tokenFor,
} from "../sessions/sessions.ts";
import { clearFailures, findUser, identifierKeyOf } from "../users/users.ts";

/** The token response, and the device token that identifies the client from now on. */
export interface SignIn {
  token: Token;
  deviceToken: string;
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
    await refundFailure(tx, attempt);
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

/** One sign-in attempt: its identifier, the known device, and the limits that it consumes. */
interface Attempt {
  /** The email or username as typed, case-folded. */
  identifierKey: string;
  device: KnownDevice | undefined;
  uses: LimitUse[];
}

/**
 * The limits of a sign-in attempt. A known device counts by itself, so other clients' guesses
 * cannot lock it out. An unknown client counts by name and client IP, by name alone, and by client
 * IP alone. This is the same whether or not a user has the name.
 */
function attemptOf(
  ctx: Ctx,
  actor: Anonymous,
  { name, found }: { name: string; found: User | undefined },
): Attempt {
  const device = knownDevice(ctx, actor, found);
  const identifierKey = identifierKeyOf(name);
  if (device && found) {
    const own: LimitUse = { limit: "login", who: `${found.id} ${device.id}` };
    return { identifierKey, device, uses: [own] };
  }
  const byClientIp = usesOf("login-address", actor.origin).flatMap(({ limit, who }): LimitUse[] => [
    { limit: "login", who: `${identifierKey} ${who}` },
    { limit, who },
  ]);
  return { identifierKey, device, uses: [...byClientIp, ...failuresOf(identifierKey)] };
}

/**
 * Counts a sign-in with the correct password. If there are too many (`sign-ins`), the attempt still
 * does not count as a failure.
 */
async function countSignIn(
  ctx: Ctx,
  { origin }: Anonymous,
  { userId, attempt }: { userId: string; attempt: Attempt },
): Promise<void> {
  try {
    await ctx.limits.consume(origin, [{ limit: "sign-ins", who: userId }]);
  } catch (error) {
    await refundFailure(ctx, attempt);
    throw error;
  }
}

/**
 * Refunds the failure that `attemptOf` consumed, and resets the streak of failures. A known device
 * resets all failures. Only the name that was typed is refunded: two locks that end together would
 * reveal that an email and a username belong to one user (CWE-204).
 */
export const refundFailure = (
  { db, limits }: Ctx,
  { identifierKey, device }: Pick<Attempt, "identifierKey" | "device">,
) =>
  limits.refund(
    db,
    failuresOf(identifierKey).map((each) => ({
      ...each,
      count: device === undefined && each.limit === "login-account" ? 1 : ALL,
    })),
  );
