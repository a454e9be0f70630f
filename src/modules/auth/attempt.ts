import type { Anonymous, Ctx, User } from "../../ctx.ts";
import { ALL, failuresOf, type LimitUse, usesOf } from "../../limits/policies.ts";
import { identifierKeyOf } from "../users/users.ts";

/** A client that has signed in as a user before, and the device token that shows it. */
export interface KnownDevice {
  id: string;
  token: string;
}

/**
 * The first device token that makes the client a known device of the user. A device token from
 * before `devicesKnownSince` does not count: before then, another person may have had the password.
 */
export function knownDevice(
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

/** One sign-in attempt: its identifier, the known device, and the limits that it consumes. */
export interface Attempt {
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
export function attemptOf(
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
export async function countSignIn(
  ctx: Ctx,
  { origin }: Anonymous,
  { userId, attempt }: { userId: string; attempt: Attempt },
): Promise<void> {
  try {
    await ctx.limits.consume(origin, [{ limit: "sign-ins", who: userId }]);
  } catch (error) {
    await succeed(ctx, attempt);
    throw error;
  }
}

/**
 * Refunds the failure that `attemptOf` consumed, and resets the streak of failures. A known device
 * resets all failures. Only the name that was typed is refunded: two locks that end together would
 * reveal that an email and a username belong to one user (CWE-204).
 */
export const succeed = (
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
