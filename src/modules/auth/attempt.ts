import type { Ctx, Stranger, User } from "../../ctx.ts";
import { ALL } from "../../db/limits/limits.ts";
import { DAY, type Spending, spendingsOf } from "../../kit/limits.ts";
import { identifierKeyOf } from "../users/users.ts";

/** One try to sign in: what it counts against, and by which device token its client is known, if it is. */
export interface Attempt {
  deviceToken: string | undefined;
  spendings: Spending[];
}

/**
 * A client that has signed in to the account before counts by itself, so nobody else's guesses keep it out. Everybody else
 * counts by name and address, by account, and by address; names that nobody has are counted as if somebody had them, but
 * for a day at most: there is no end of such names.
 */
export function attemptOf(
  { devices }: Pick<Ctx, "devices">,
  { origin }: Stranger,
  { name, found }: { name: string; found: User | undefined },
): Attempt {
  const device = devices.read(origin?.deviceToken ?? "");
  if (origin?.deviceToken && device && device.userId === found?.id)
    return {
      deviceToken: origin.deviceToken,
      spendings: [{ limit: "login", who: `${found.id} ${device.id}` }],
    };
  const typed = identifierKeyOf(name);
  const byAddress = spendingsOf("login-address", origin).flatMap(({ limit, who }): Spending[] => [
    { limit: "login", who: `${typed} ${who}` },
    { limit, who },
  ]);
  const failures = found
    ? failuresOf(found.id)
    : failuresOf(typed).map((each) => ({ ...each, keptSeconds: DAY }));
  return { deviceToken: undefined, spendings: [...byAddress, ...failures] };
}

const failuresOf = (account: string): Spending[] => [
  { limit: "login-account", who: account },
  { limit: "login-streak", who: account },
];

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

/** What a mail to an address counts against, whether or not somebody has it. */
export const mailAccount = (who: string): Spending => ({
  limit: "mail-account",
  who,
  keptSeconds: DAY,
});
