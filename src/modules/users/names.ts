import { domainToASCII } from "node:url";
import { type FieldProblem, fieldProblem } from "../../kit/problem.ts";

/** A name as its owner wrote it, and the key by which two spellings of it are one. */
export interface Name {
  shown: string;
  key: string;
}

const EMAIL_MAX_LENGTH = 254;
const LOCAL_PART_MAX_BYTES = 64;
const USERNAME_SHAPE = /^[A-Za-z0-9._-]{3,32}$/;

/** Names that would pass for the service itself, or for a path of it. */
const reserved = new Set(
  "admin administrator anonymous api auth bunker everyone help info login logout me moderator nobody null oauth root security signup superuser support system undefined webmaster www".split(
    " ",
  ),
);

/** Case and compatibility forms folded in our code, so that the answer does not depend on a database's locale. */
const fold = (text: string) => text.normalize("NFKC").toLowerCase();

/** The key that `email` is compared by. Total: for what is not an address, a key that nobody has. */
export function emailKeyOf(email: string): string {
  const at = email.lastIndexOf("@");
  return `${fold(email.slice(0, at).trimStart())}@${domainToASCII(email.slice(at + 1).trim())}`;
}
export const usernameKeyOf = (username: string): string => username.trim().toLowerCase();

/** An address to write to (RFC 5321, with RFC 6531's letters): no display name, no quotes, no comments, no address literal. */
export function readEmail(text: string): Name | FieldProblem {
  const shown = text.trim();
  const key = emailKeyOf(shown);
  const [local = "", domain = ""] = [
    shown.slice(0, shown.lastIndexOf("@")),
    key.slice(key.lastIndexOf("@") + 1),
  ];
  const isAddress =
    /^[^\s"(),:;<>@[\\\]\p{C}]+$/u.test(local) &&
    !/^\.|\.\.|\.$/.test(local) &&
    local.normalize("NFKC") === local.normalize("NFC") &&
    Buffer.byteLength(local) <= LOCAL_PART_MAX_BYTES &&
    /^(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+(?!\d+$)[a-z0-9-]{2,63}$/.test(domain);
  if (!isAddress) return fieldProblem("/email", "wrong_format", "is not an e-mail address");
  if (shown.length > EMAIL_MAX_LENGTH || key.length > EMAIL_MAX_LENGTH)
    return fieldProblem("/email", "too_long", `may have at most ${EMAIL_MAX_LENGTH} characters`);
  return { shown, key };
}

export function readUsername(text: string): Name | FieldProblem {
  const shown = text.trim();
  const key = usernameKeyOf(shown);
  if (!USERNAME_SHAPE.test(shown))
    return fieldProblem(
      "/username",
      "wrong_format",
      "needs 3 to 32 ASCII letters, digits, dots, hyphens or underscores",
    );
  return reserved.has(key) ? fieldProblem("/username", "reserved") : { shown, key };
}

const SUFFIXES_MAX = 5;

/** Usernames for somebody who chose none: the address's local part, then the same with a suffix, for as long as it is taken. */
export function* usernamesFrom(email: Name): Generator<Name, undefined> {
  const local = email.shown.slice(0, email.shown.lastIndexOf("@")).normalize("NFKD");
  const stem = local.replace(/[^A-Za-z0-9._-]/g, "").slice(0, 24);
  const named = (shown: string) => ({ shown, key: usernameKeyOf(shown) });
  if (stem.length >= 3 && !reserved.has(stem.toLowerCase())) yield named(stem);
  for (let tries = 0; tries < SUFFIXES_MAX; tries += 1)
    yield named(`${stem || "user"}-${crypto.randomUUID().slice(0, 6)}`);
}

/** A BCP 47 language tag in its canonical spelling. */
export function readLocale(text: string): string | FieldProblem {
  try {
    const [locale] = Intl.getCanonicalLocales(text);
    if (locale && locale.length <= 35) return locale;
  } catch {
    // Intl says "no" by throwing a RangeError, and the refusal below says it to the caller.
  }
  return fieldProblem("/locale", "wrong_format", "is not a language tag such as en or pt-BR");
}
