import { createHmac, hkdfSync, timingSafeEqual } from "node:crypto";
import { sha256 } from "../kit/digest.ts";

export const SECRET_MIN_BYTES = 32;

/** Keys from tutorials and templates: anyone who reads those can sign with them. */
const wellKnown = [
  /change.?me|change.?this|replace.?(me|this)|(your|my|super|jwt).{0,12}secret|secret.?key|example|insecure|password/i,
  /^09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7$/,
  /^(0123456789abcdef)+$|^(1234567890)+|^(deadbeef)+$/i,
];
const LETTERS_MIN = 10;

/** Returns what makes a signing key guessable, or undefined. */
export function weaknessOf(secret: string): string | undefined {
  if (Buffer.byteLength(secret) < SECRET_MIN_BYTES)
    return `needs at least ${SECRET_MIN_BYTES} bytes`;
  if (wellKnown.some((pattern) => pattern.test(secret))) return "is a well-known example";
  if (new Set(secret).size < LETTERS_MIN) return "is too regular to be random";
  return undefined;
}

/** Reveals nothing about the secret or the key of another purpose (HKDF, RFC 5869). */
export const derivedKey = (
  secret: string,
  purpose:
    | "device tokens"
    | "fingerprints"
    | "key names"
    | "limits"
    | "mails"
    | "refresh tokens"
    // Of the names in Redis. Other words here would start all counters again.
    | "shared memory"
    | "signing keys"
    | "webhooks",
): Buffer => Buffer.from(hkdfSync("sha256", secret, "", `bunker ${purpose}`, 32));

/** `derivedKey` of several secrets, the current one first. */
export const derivedKeys = (
  [secret, ...older]: readonly [string, ...string[]],
  purpose: Parameters<typeof derivedKey>[1],
): [Buffer, ...Buffer[]] => [
  derivedKey(secret, purpose),
  ...older.map((one) => derivedKey(one, purpose)),
];

/** Keyed fingerprints: without the secret, nobody can guess the text of a fingerprint. */
export const fingerprints = (secret: string) => {
  const key = derivedKey(secret, "fingerprints");
  return (text: string): Buffer => createHmac("sha256", key).update(text).digest();
};

/** Compares in a time that does not depend on where two texts differ (CWE-208). */
export const isSecret = (given: string, secret: string): boolean =>
  timingSafeEqual(sha256(given), sha256(secret));
