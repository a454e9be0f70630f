import type { Anonymous, Ctx, User } from "../../ctx.ts";
import { ALL, failuresOf, type LimitUse, usesOf } from "../../limits/policies.ts";
import { identifierKeyOf } from "../users/users.ts";

/** A client that has signed in to an account before, and the token by which it is known. */
export interface KnownDevice {
  id: string;
  token: string;
}

/** By which device token the client is known to an account, if it is: one from before its password was set by its owner is not. */
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

/** One try to sign in: by which name, whether its client is known, and what it counts against. */
export interface Attempt {
  /** The email or username as typed, folded. */
  identifierKey: string;
  device: KnownDevice | undefined;
  uses: LimitUse[];
}

/**
 * A client that has signed in to the account before counts by itself, so no other client's guesses keep it out. An unknown client
 * counts by name and client IP, by name, and by client IP, whether or not a user has that name.
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
  const byAddress = usesOf("login-address", actor.origin).flatMap(({ limit, who }): LimitUse[] => [
    { limit: "login", who: `${identifierKey} ${who}` },
    { limit, who },
  ]);
  return { identifierKey, device, uses: [...byAddress, ...failuresOf(identifierKey)] };
}

/** Counts a sign-in whose password was right. If there are too many, the try still counts as no failure. */
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
 * A success is no failure, and ends the row of failures; a success of a known client clears all of them. Only those by the name that was
 * typed: two locks that end together would tell that an email and a username belong to one user.
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
