import type { User } from "../../ctx.ts";
import type { Target } from "../../db/rows.ts";
import { readFullName, readLocale, readUsername } from "../../kit/names.ts";
import { accept, Stale, UserGone } from "../../kit/problem.ts";

/** Undefined leaves a field as it is; null clears it. */
export interface UserChanges {
  username?: string | undefined;
  fullName?: string | null | undefined;
  locale?: string | null | undefined;
  isActive?: boolean | undefined;
  isSuperuser?: boolean | undefined;
}

/** Throws `invalid_request`. */
export function readChanges({ isActive, isSuperuser, ...changes }: UserChanges) {
  const { username, fullName, locale } = accept({
    username: changes.username === undefined ? undefined : readUsername(changes.username),
    fullName: readIfGiven(changes.fullName, readFullName),
    locale: readIfGiven(changes.locale, readLocale),
  });
  const name = username && { username: username.shown, usernameKey: username.key };
  const rest = { fullName, locale, isActive, isSuperuser };
  return { ...name, ...(rest satisfies Record<Exclude<keyof UserChanges, "username">, unknown>) };
}

export const readIfGiven = <T>(text: string | null | undefined, read: (text: string) => T) =>
  typeof text === "string" ? read(text) : text;

/** The wire names of the fields whose values would change. Throws `not_found`, `stale`. */
export function changedFields(
  user: User | undefined,
  { id, versions }: Target,
  set: Partial<Record<keyof UserChanges, unknown>>,
): string[] {
  if (!user) throw new UserGone(id);
  const isCurrent = versions?.some((version) => version.getTime() === user.updatedAt.getTime());
  if (isCurrent === false) throw new Stale(user.updatedAt);
  return changeable
    .filter((field) => set[field] !== undefined && set[field] !== user[field])
    .map((field) => wireNames[field]);
}
const wireNames = {
  username: "username",
  fullName: "full_name",
  locale: "locale",
  isActive: "is_active",
  isSuperuser: "is_superuser",
} as const satisfies Record<keyof UserChanges, string>;
const changeable = Object.keys(wireNames) as (keyof typeof wireNames)[];
