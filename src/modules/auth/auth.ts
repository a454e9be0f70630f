import { rehashed } from "../../credentials/password.ts";
import type { Anonymous, Ctx, User } from "../../ctx.ts";
import { transaction } from "../../db/transaction.ts";
import { Problem } from "../../kit/problem.ts";
import { ALL, failuresOf, type LimitUse, usesOf } from "../../limits/policies.ts";
import {
  type Credentials,
  findCredentials,
  isPasswordOf,
  lockIfUnchanged,
} from "../passwords/passwords.ts";
import { admitRegistration, findRegistration } from "../registration/registration.ts";
import {
  beginSession,
  findKnownDevice,
  issueToken,
  type KnownDevice,
  type SessionGrant,
  type Token,
} from "../sessions/sessions.ts";
import { identifierKeyOf } from "../users/users.ts";

export interface SignIn {
  token: Token;
  deviceToken: string;
}

/**
 * Signs a user in. An unknown name and a wrong password both throw `invalid_credentials`, after the
 * same time (CWE-208). Only a caller who knows the password gets `account_inactive` or
 * `email_not_verified`. Throws `too_many_requests`, `busy`.
 */
export async function logIn(
  ctx: Ctx,
  actor: Anonymous,
  input: { username: string; password: string },
): Promise<SignIn> {
  ctx.hashing.refuseIfFull();
  // Before verifying: if the password changes meanwhile, this device stays unknown.
  const knownSince = ctx.now();
  const found = await findCredentials(ctx, input.username);
  const attempt = attemptOf(ctx, actor, { name: input.username, found });
  const started = await ctx.limits.attempt(actor.origin, attempt.uses, async () => {
    const user =
      (await verifyCredentials(ctx, input.password, found)) ??
      (await verifyRegistration(ctx, actor, { ...input, found }));
    if (!user) throw new Problem("invalid_credentials");
    if (!user.isActive) throw new Problem("account_inactive");
    if (!user.emailVerified && mustVerify(ctx)) throw new Problem("email_not_verified");
    await countSignIn(ctx, actor, { userId: user.id, attempt });
    return startIfUnchanged(ctx, actor, { user, attempt });
  });
  return {
    token: await issueToken(ctx, started),
    deviceToken: attempt.device?.token ?? ctx.devices.sign(started.userId, knownSince),
  };
}

const mustVerify = ({ config }: Ctx): boolean => config.requireEmailVerification === "on";

/** `upgraded` is a new hash, if the stored one is outdated. */
type Verified = Credentials & { upgraded?: string | undefined };

/** Takes the same time if there is no user. */
async function verifyCredentials(
  ctx: Ctx,
  password: string,
  found: Credentials | undefined,
): Promise<Verified | undefined> {
  const hash = found?.passwordHash;
  const isRight = await isPasswordOf(ctx, { userId: found?.id, password, hash });
  if (!isRight || !found) return undefined;
  return {
    ...found,
    upgraded: await rehashed(ctx.hashing, { password, hash: found.passwordHash }),
  };
}

/**
 * Verifies the password of a waiting registration. If emails must be verified, hashes once even
 * without one: the time must not reveal who has a user (CWE-204, CWE-208). If not, the registration
 * becomes a user. Throws `email_not_verified`.
 */
async function verifyRegistration(
  ctx: Ctx,
  actor: Anonymous,
  { username, password, found }: { username: string; password: string; found: User | undefined },
): Promise<Verified | undefined> {
  const registration = await findRegistration(ctx, username);
  if (!mustVerify(ctx) && (found || !registration)) return undefined;
  const passwordHash = registration?.passwordHash ?? undefined;
  const isRight = await isPasswordOf(ctx, { userId: undefined, password, hash: passwordHash });
  if (!isRight || !registration || !passwordHash) return undefined;
  if (mustVerify(ctx)) throw new Problem("email_not_verified");
  await admitRegistration(ctx, actor, { registration, passwordHash });
  // A concurrent sign-in may have admitted it.
  const admitted = await findCredentials(ctx, username);
  return admitted?.passwordHash === passwordHash ? admitted : undefined;
}

/** Throws `invalid_credentials` if the password changed meanwhile, or the user was deactivated. */
function startIfUnchanged(
  ctx: Ctx,
  actor: Anonymous,
  { user, attempt }: { user: Verified; attempt: Attempt },
): Promise<SessionGrant> {
  return transaction(ctx, async (tx) => {
    await lockIfUnchanged(tx.db, user, user.upgraded);
    await refundFailure(tx, attempt);
    return beginSession(tx, actor, { user, device: attempt.device });
  });
}

interface Attempt {
  /** The email or username as typed, case-folded. */
  identifierKey: string;
  device: KnownDevice | undefined;
  uses: LimitUse[];
}

/**
 * A known device counts by itself: others' guesses cannot lock it out. Other clients count by name
 * and by IP, whether or not a user has the name (CWE-204).
 */
function attemptOf(
  ctx: Ctx,
  actor: Anonymous,
  { name, found }: { name: string; found: User | undefined },
): Attempt {
  const device = findKnownDevice(ctx, actor, found);
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

/** Too many correct sign-ins (`sign-ins`) do not count as failures. */
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
 * Resets the streak, and refunds one failure, or all for a known device. Only for the typed name:
 * two locks that end together would reveal that both names belong to one user (CWE-204).
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
