import { domainToASCII, domainToUnicode } from "node:url";
import { fold } from "./fold.ts";
import { charactersOf, type FieldProblem, fieldProblem, Problem } from "./problem.ts";

/** An email or username. `shown` is as the user wrote it. Spellings of one name share a `key`. */
export interface Name {
  shown: string;
  key: string;
}

const EMAIL_MAX_LENGTH = 254;
const LOCAL_PART_MAX_BYTES = 64;
const USERNAME_SHAPE = /^(?=.*[A-Za-z0-9])[A-Za-z0-9._-]{3,32}$/;

/** Names that could be mistaken for the service itself or for one of its paths. */
const reserved = new Set(
  "admin administrator anonymous api auth bunker everyone help info login logout me moderator nobody null oauth root security signup superuser support system undefined webmaster www".split(
    " ",
  ),
);

function split(email: string): { local: string; domain: string } | undefined {
  const at = email.lastIndexOf("@");
  return at < 0 ? undefined : { local: email.slice(0, at), domain: email.slice(at + 1) };
}

/** The key by which emails are compared. Undefined without an @. */
export function emailKeyOf(email: string): string | undefined {
  const parts = split(email.trim());
  return parts && `${fold(parts.local)}@${domainToASCII(parts.domain)}`;
}
export const usernameKeyOf = (username: string): string => username.trim().toLowerCase();

const LOCAL_PART =
  /^(?!\.)(?!.*\.\.)(?!.*\.$)[^\s"(),:;<>@[\\\]\p{C}\p{Default_Ignorable_Code_Point}]+$/u;
// A URL parser drops, decodes or cuts at these, and they would pass as part of a domain.
const NOT_OF_DOMAIN = /[\s\p{C}%/?#\\:@]/u;
const DOMAIN =
  /^(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+(xn--[a-z0-9-]{1,59}|[a-z][a-z0-9-]{0,61}[a-z0-9])$/;

// Otherwise two mailboxes could share a key: U+212A KELVIN SIGN becomes k.
const isNfkc = (text: string) => text === text.normalize("NFKC");
// Some mail software decodes an encoded word (RFC 2047) and would send to the mailbox in it.
const ENCODED_WORD = "=?";
const isLocalPart = (local: string) =>
  LOCAL_PART.test(local) &&
  !local.includes(ENCODED_WORD) &&
  isNfkc(local) &&
  Buffer.byteLength(local) <= LOCAL_PART_MAX_BYTES;

/** Maps each character alone: toLowerCase changes a sigma at the end of a word. */
const lowerCase = (text: string) => [...text].map((letter) => letter.toLowerCase()).join("");

function isDomain(domain: string): boolean {
  if (NOT_OF_DOMAIN.test(domain) || !isNfkc(domain)) return false;
  const ascii = domainToASCII(domain);
  // If UTS #46 maps it to another text, people read one domain, and mail goes to another.
  const isOwnMapping = [ascii, domainToUnicode(ascii)].some(
    (form) => lowerCase(form) === lowerCase(domain),
  );
  return isOwnMapping && DOMAIN.test(ascii) && !ascii.endsWith(".invalid");
}

/**
 * RFC 5321, with the characters of RFC 6531. Two accepted emails share a key only if they differ in
 * letter case, so that the owner of one mailbox never becomes the user of another one.
 */
export function readEmail(text: string): Name | FieldProblem {
  const shown = text.trim();
  const { local = "", domain = "" } = split(shown) ?? {};
  if (!isLocalPart(local) || !isDomain(domain))
    return fieldProblem("/email", "wrong_format", "is not an email address");
  const key = emailKeyOf(shown) ?? "";
  if (shown.length > EMAIL_MAX_LENGTH || key.length > EMAIL_MAX_LENGTH)
    return fieldProblem("/email", "too_long", `may have at most ${charactersOf(EMAIL_MAX_LENGTH)}`);
  return { shown, key };
}

/**
 * Reads the new email of a user. Also refuses what the mail server cannot send to: characters
 * beyond ASCII before the @ need SMTPUTF8 (RFC 6531), which MAIL_URL names.
 */
export function readNewEmail(
  text: string,
  { mailUrl = "mailbox:" }: { mailUrl: string | undefined },
): Name | FieldProblem {
  const email = readEmail(text);
  if (!("key" in email) || /^\p{ASCII}*@/u.test(email.shown)) return email;
  const hasSmtpUtf8 = new URL(mailUrl).searchParams.get("smtputf8") === "on";
  if (hasSmtpUtf8) return email;
  return fieldProblem(
    "/email",
    "wrong_format",
    "may have only ASCII characters before the @: the mail server accepts no others",
  );
}

export function readUsername(text: string): Name | FieldProblem {
  const shown = text.trim();
  const key = usernameKeyOf(shown);
  if (!USERNAME_SHAPE.test(shown))
    return fieldProblem(
      "/username",
      "wrong_format",
      "needs 3 to 32 ASCII letters, digits, dots, hyphens or underscores, at least one of them a letter or digit",
    );
  return reserved.has(key) ? fieldProblem("/username", "reserved") : { shown, key };
}

const SUFFIXES_MAX = 5;
const STEM_MAX_LENGTH = 24;

export const localPartOf = (email: string): string => split(email)?.local ?? "";

const named = (shown: string): Name => ({ shown, key: usernameKeyOf(shown) });

/** The local part of the email, then up to 5 times the same with a random suffix. */
export function* usernamesFrom(text: string): Generator<Name, undefined> {
  const letters = text.normalize("NFKD").replace(/[^A-Za-z0-9._-]/g, "");
  const stem = letters.slice(0, STEM_MAX_LENGTH);
  if (USERNAME_SHAPE.test(stem) && !reserved.has(stem.toLowerCase())) yield named(stem);
  for (let tries = 0; tries < SUFFIXES_MAX; tries += 1)
    yield named(`${stem || "user"}-${crypto.randomUUID().slice(0, 6)}`);
}

/** A BCP 47 language tag in its canonical spelling. */
export function readLocale(text: string): string | FieldProblem {
  try {
    const [locale] = Intl.getCanonicalLocales(text);
    if (locale && locale.length <= 35) return locale;
  } catch {
    // Intl throws a RangeError for a malformed tag. The problem below reports it.
  }
  return fieldProblem("/locale", "wrong_format", "is not a language tag such as en or pt-BR");
}

const FULL_NAME_MAX_LENGTH = 200;

export const readFullName = (text: string): string | FieldProblem =>
  readLine("/full_name", text, FULL_NAME_MAX_LENGTH);

const CONTROL = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/u;
/** Not U+2800, which is a blank, nor Hangul fillers, which are ignorable. */
const VISIBLE = /(?![\p{Default_Ignorable_Code_Point}\u2800])[\p{L}\p{N}\p{P}\p{S}]/u;

/**
 * Refuses characters that reverse the text beside the name (Unicode TR36, 3.1: "\u202egnp.exe"
 * would be shown as "exe.png"). `lengthMax` is in code points.
 */
export function readLine(pointer: string, text: string, lengthMax: number): string | FieldProblem {
  const name = text.trim();
  if (name === "") return fieldProblem(pointer, "too_short", `needs at least ${charactersOf(1)}`);
  if (CONTROL.test(name))
    return fieldProblem(pointer, "wrong_format", "has control characters or line breaks");
  if (!VISIBLE.test(name))
    return fieldProblem(pointer, "wrong_format", "has no visible characters");
  if ([...name].length <= lengthMax) return name;
  return fieldProblem(pointer, "too_long", `may have at most ${charactersOf(lengthMax)}`);
}

/** For a user who chose no name. Throws `username_taken` if all are taken. */
export async function withFreeName<T>(
  names: Iterable<Name>,
  take: (name: Name) => Promise<T>,
): Promise<T> {
  for (const name of names)
    try {
      return await take(name);
    } catch (error) {
      if (!(error instanceof Problem) || error.code !== "username_taken") throw error;
    }
  throw new Problem("username_taken");
}
