import type { Ctx, Stranger, User } from "../../ctx.ts";
import { ALL } from "../../db/limits/limits.ts";
import type { Spending } from "../../kit/limits.ts";
import { subscriberOf } from "../../kit/network.ts";
import { identifierKeyOf } from "../users/users.ts";

/** One try to sign in: what it counts against, and by which device token its client is known, if it is. */
export interface Attempt {
  deviceToken: string | undefined;
  spendings: Spending[];
}

/**
 * A client that has signed in to the account before counts by itself, so nobody else's guesses keep it out. Everybody else
 * counts by account and address, by account, and by address; names that nobody has are counted as if somebody had them.
 */
export function attemptOf(
  { devices }: Pick<Ctx, "devices">,
  { origin }: Stranger,
  { name, found }: { name: string; found: User | undefined },
): Attempt {
  const account = found?.id ?? identifierKeyOf(name);
  const device = devices.read(origin?.deviceToken ?? "");
  if (origin?.deviceToken && device && device.userId === found?.id)
    return {
      deviceToken: origin.deviceToken,
      spendings: [{ limit: "login", who: `${account} ${device.id}` }],
    };
  const address = subscriberOf(origin?.address ?? "");
  const byAddress: Spending[] = address
    ? [
        { limit: "login", who: `${account} ${address}` },
        { limit: "login-address", who: address },
      ]
    : [];
  return { deviceToken: undefined, spendings: [...byAddress, ...failuresOf(account)] };
}

const failuresOf = (account: string): Spending[] => [
  { limit: "login-account", who: account },
  { limit: "login-streak", who: account },
];

/** A try that was not judged, because too many were being judged, does not count. */
export const withdraw = ({ db, limits }: Pick<Ctx, "db" | "limits">, { spendings }: Attempt) =>
  limits.giveBack(
    db,
    spendings.map((each) => ({ ...each, count: 1 })),
  );

/** A success is no failure, and ends the row of them; of a known client, it makes all of them forgotten. */
export const succeed = (
  { db, limits }: Pick<Ctx, "db" | "limits">,
  userId: string,
  { deviceToken }: Attempt,
) =>
  limits.giveBack(
    db,
    failuresOf(userId).map((each) => ({
      ...each,
      count: deviceToken === undefined && each.limit === "login-account" ? 1 : ALL,
    })),
  );
