import { eq } from "drizzle-orm";
import { type Db, transact } from "../../db/db.ts";
import { users } from "../../db/schema.ts";
import { Problem } from "../../kit/problem.ts";
import { type Name, namelessUsername, usernameKeyOf, usernamesFrom } from "./names.ts";

/** A username to be taken now, and the one that its owner gets when the address is proven. */
export interface ChosenName extends Name {
  wanted?: string;
}

/** Tries names until one is free: who chose none is not refused because somebody else has it. Throws `username_taken`. */
export async function withFreeName<T>(
  names: Iterable<ChosenName>,
  take: (name: ChosenName) => Promise<T>,
): Promise<T> {
  for (const name of names)
    try {
      return await take(name);
    } catch (error) {
      if (!(error instanceof Problem) || error.code !== "username_taken") throw error;
    }
  throw new Problem("username_taken");
}

/**
 * Names that say nothing, in place of the one that is wanted. Whoever registers somebody's address with a username, and then looks
 * whether that is taken, would learn whether the address was new (CWE-204).
 */
export function* heldBack(wanted: Iterable<Name>): Generator<ChosenName, undefined> {
  for (const { shown } of wanted) yield { ...namelessUsername(), wanted: shown };
}

/** Gives an account the username that it was to have, or one like it where somebody has that by now. */
export async function claimUsername(db: Db, id: string, wanted: string): Promise<void> {
  const first = { shown: wanted, key: usernameKeyOf(wanted) };
  await withFreeName([first, ...usernamesFrom(wanted)], ({ shown, key }) =>
    transact(db, (tx) =>
      tx
        .update(users)
        .set({ username: shown, usernameKey: key, wantedUsername: null })
        .where(eq(users.id, id)),
    ),
  );
}
