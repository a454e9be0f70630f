import { fold } from "../kit/fold.ts";
import { charactersOf, type FieldProblem, fieldProblem } from "../kit/problem.ts";
import commonPasswords from "./common-passwords.txt" with { type: "text" };
import type { Hashing } from "./hashing.ts";
import { type HashCost, isOutdated, readStoredHash } from "./stored-hash.ts";

/** OWASP's second recommendation for Argon2id: 19 MiB, two passes, one lane. */
export const usualCost: HashCost = { kibibytes: 19_456, passes: 2 };

/**
 * A hash of no password, at the usual cost. It is verified if no user has the name, so that the
 * time of the response does not reveal which names exist (CWE-208).
 */
const dummyHash = ({ kibibytes, passes }: HashCost) =>
  `$argon2id$v=19$m=${kibibytes},t=${passes},p=1$${"A".repeat(43)}$${"A".repeat(43)}`;

/** The hash of a user without a password. No password verifies against it. */
export const NO_PASSWORD = "!";

export const PASSWORD_MAX_LENGTH = 128;

/** Unicode can encode one text in several ways, and keyboards differ (RFC 8265, section 4). */
const normalized = (password: string) => password.normalize("NFC");

export const hashPassword = (hashing: Hashing, password: string): Promise<string> => {
  const { kibibytes: memoryCost, passes: timeCost } = hashing.cost;
  return hashing.run(() =>
    Bun.password.hash(normalized(password), { algorithm: "argon2id", memoryCost, timeCost }),
  );
};

interface Comparison {
  password: string;
  hash: string | undefined;
  /** The hash cannot be verified. The password then counts as wrong, after the usual time. */
  onFault: (reason: string) => void;
}

/**
 * Takes the time of one hash, even if there is none to compare with. The hash may be imported
 * (credentials/stored-hash). Throws `busy` and nothing else, whatever the hash is.
 */
export async function verifyPassword(
  hashing: Hashing,
  { password, hash, onFault }: Comparison,
): Promise<boolean> {
  if (password === "") return false;
  const text = Buffer.from(normalized(password));
  const check = hash === undefined || hash === NO_PASSWORD ? undefined : readStoredHash(hash);
  return hashing.run(async () => {
    if (typeof check === "function")
      try {
        return await check(text);
      } catch (error) {
        onFault(String((error as Error).message));
      }
    if (typeof check === "string") onFault(check);
    await Bun.password.verify(text, dummyHash(hashing.cost));
    return false;
  });
}

/** Undefined unless `hash` has another format or a lower cost than new hashes. Throws `busy`. */
export const rehashed = async (
  hashing: Hashing,
  { password, hash }: { password: string; hash: string },
): Promise<string | undefined> =>
  isOutdated(hash, hashing.cost) ? hashPassword(hashing, password) : undefined;

let common: Set<string> | undefined;
const isCommon = (password: string) => {
  common ??= new Set(commonPasswords.split("\n"));
  return common.has(fold(password));
};

const OWN_LENGTH_MIN = 5;
const isPersonal = (password: string, names: string[]) => {
  const words = names.flatMap((name) => [name, ...name.split(/[\s@]+/)]).map(fold);
  const parts = words.filter((word) => word.length >= 3).sort((a, b) => b.length - a.length);
  let left = fold(password);
  for (const part of parts) left = left.replaceAll(part, "");
  return left.length < OWN_LENGTH_MIN && left !== fold(password);
};

/** `minLength` is in code points. `names` are those of the user and of this service. */
export interface PasswordRules {
  minLength: number;
  names: string[];
}

interface PasswordSettings {
  passwordMinLength: number;
  brandName: string;
  publicUrl: string;
}

/** Attackers first guess names of the user and the service (OWASP ASVS 5.0, 6.1.2, 6.2.11). */
export const passwordRules = (
  { passwordMinLength: minLength, brandName, publicUrl }: PasswordSettings,
  owner: string[],
): PasswordRules => ({
  minLength,
  names: [...owner, brandName, ...new URL(publicUrl).hostname.split(".")],
});

/** Has no composition rules (NIST SP 800-63B-4, 3.1.1.2). */
export function readPassword(
  pointer: string,
  password: string,
  { minLength, names }: PasswordRules,
): string | FieldProblem {
  if (password.includes("\0") || !password.isWellFormed())
    return fieldProblem(pointer, "wrong_format", "is not well-formed text");
  const { length } = [...normalized(password)];
  if (length < minLength)
    return fieldProblem(pointer, "too_short", `needs at least ${charactersOf(minLength)}`);
  if (length > PASSWORD_MAX_LENGTH)
    return fieldProblem(
      pointer,
      "too_long",
      `may have at most ${charactersOf(PASSWORD_MAX_LENGTH)}`,
    );
  if (isCommon(password)) return fieldProblem(pointer, "password_too_common");
  if (isPersonal(password, names)) return fieldProblem(pointer, "password_too_personal");
  return password;
}
