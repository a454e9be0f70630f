import type { Ctx, Stranger, User } from "../../ctx.ts";
import { ALL, DAY, type Spending, spendingsOf } from "../../kit/limits.ts";
import { identifierKeyOf } from "../users/users.ts";

/** A client that has signed in to an account before, and the token by which it is known. */
export interface KnownDevice {
  id: string;
  token: string;
}

/** By which device token the client is known to an account, if it is: one from before its password was set by its owner is not. */
export function knownDevice(
  { devices }: Pick<Ctx, "devices">,
  { origin }: Stranger,
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

/** One try to sign in: what it counts against, and whether its client is known. */
export interface Attempt {
  device: KnownDevice | undefined;
  spendings: Spending[];
}

/**
 * A client that has signed in to the account before counts by itself, so nobody else's guesses keep it out. Everybody else
 * counts by name and address, by account, and by address; names that nobody has are counted as if somebody had them, but
 * for a day at most: there is no end of such names.
 */
export function attemptOf(
  ctx: Pick<Ctx, "devices">,
  actor: Stranger,
  { name, found }: { name: string; found: User | undefined },
): Attempt {
  const device = knownDevice(ctx, actor, found);
  if (device && found)
    return { device, spendings: [{ limit: "login", who: `${found.id} ${device.id}` }] };
  const typed = identifierKeyOf(name);
  const byAddress = spendingsOf("login-address", actor.origin).flatMap(
    ({ limit, who }): Spending[] => [
      { limit: "login", who: `${typed} ${who}` },
      { limit, who },
    ],
  );
  const failures = found
    ? failuresOf(found.id)
    : failuresOf(typed).map((each) => ({ ...each, keptSeconds: DAY }));
  return { device, spendings: [...byAddress, ...failures] };
}

/** Failed tries of one account, whoever makes them. */
export const failuresOf = (account: string): Spending[] => [
  { limit: "login-account", who: account },
  { limit: "login-streak", who: account },
];

/** A success is no failure, and ends the row of them; of a known client, it makes all of them forgotten. */
export const succeed = (
  { db, limits }: Pick<Ctx, "db" | "limits">,
  userId: string,
  { device }: Pick<Attempt, "device">,
) =>
  limits.giveBack(
    db,
    failuresOf(userId).map((each) => ({
      ...each,
      count: device === undefined && each.limit === "login-account" ? 1 : ALL,
    })),
  );
