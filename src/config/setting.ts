import { createPrivateKey } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { isIPv4, isIPv6 } from "node:net";
import { domainToASCII } from "node:url";
import { weaknessOf } from "../credentials/secret.ts";
import { argon2Excess, type HashCost } from "../credentials/stored-hash.ts";
import { joinTables } from "../kit/join.ts";
import type { MailAddress } from "../kit/mail.ts";
import { canDecode } from "./service-urls.ts";
import { isUnexpanded, whyUnreadable } from "./text-file.ts";

/** The settings that defaults of other settings depend on. */
export interface Base {
  isProduction: boolean;
  port: number;
  publicUrl: string;
  brandName: string;
}

/** One setting. `parse` throws an Error that does not repeat the value. */
export interface Setting<T> {
  name: string;
  doc: string;
  /** The default as text, if it is not a constant. */
  shown?: string;
  isSecret?: true;
  /** Whether the value may be in a file, as every secret may. A reload (SIGHUP) reads it again. */
  mayBeInFile?: true;
  /** Whether blanks at the ends are refused, because they could be part of the value. */
  mayHaveBlanks?: true;
  parse: (text: string) => T;
  fallback: (base: Base) => T;
  /** Formats a value as the variable spells it, if that is not `String(value)`. */
  format?: (value: Exclude<T, undefined>) => string;
}
export const setting = <T>(it: Setting<T>) => it;

export const optional = <T>(it: Omit<Setting<T | undefined>, "fallback">) =>
  setting<T | undefined>({ shown: "none", ...it, fallback: () => undefined });

export const onOff = ({ fallback, ...it }: { name: string; doc: string; fallback: "on" | "off" }) =>
  setting({ ...it, parse: oneOf(["on", "off"]), fallback: () => fallback });

/** The variable of a setting, and `<NAME>_FILE` if its value may be in a file. */
export const variablesOf = ({ name, isSecret, mayBeInFile }: Named): string[] =>
  isSecret || mayBeInFile ? [name, `${name}_FILE`] : [name];
type Named = Pick<Setting<unknown>, "name" | "isSecret" | "mayBeInFile">;

/** Like `joinTables`. Also throws if two settings have the same variable. */
export function joinSettings<
  Own extends Record<string, Named>,
  Product extends Record<string, Named>,
>(own: Own, product: Product): Own & Product {
  joinTables(byVariable(own), byVariable(product));
  return joinTables(own, product);
}
const byVariable = (table: Record<string, Named>) =>
  Object.fromEntries(
    Object.values(table)
      .flatMap(variablesOf)
      .map((name) => [name, name]),
  );

export function text(value: string): string {
  return value;
}

/** Text without line breaks, which could inject headers into a mail (CWE-93). */
export function line(value: string): string {
  if (/[\p{Cc}\u2028\u2029]/u.test(value)) throw new Error("must be one line");
  return value;
}

export function integer(min: number, max: number) {
  return (value: string): number => {
    const number = Number(value);
    if (!/^\d+$/.test(value) || number < min || number > max)
      throw new Error(`must be a whole number from ${min} to ${max}`);
    return number;
  };
}

export function oneOf<const T extends readonly string[]>(allowed: T) {
  return (value: string): T[number] => {
    if (!allowed.includes(value)) throw new Error(`must be ${allowed.join(" or ")}`);
    return value;
  };
}

/** Has no path, because links, cookies and RFC 8414 metadata need the root of a host. */
export function webOrigin(value: string): string {
  const url = URL.parse(value);
  const rest = url && `${url.username}${url.password}${url.pathname}${url.search}${url.hash}`;
  const isOrigin = url && /^https?:$/.test(url.protocol) && url.port !== "0" && rest === "/";
  if (!isOrigin)
    throw new Error("must be an origin such as https://accounts.example.com, without a path");
  return url.origin;
}

/** Reads origins as browsers send them (RFC 6454, section 6.2), separated by commas or blanks. */
export function webOrigins(value: string): string[] {
  const origins = value.split(/[\s,]+/).filter((one) => one !== "");
  const isExact = (one: string) => /^https?:\/\/[^*]+$/.test(one) && URL.parse(one)?.origin === one;
  if (!origins.every(isExact))
    throw new Error(
      "must be origins such as https://app.example.com, http://localhost:5173: a scheme, a lowercase host, a port unless it is the default one, and no slash at the end",
    );
  return origins;
}

export function collectorUrl(value: string): string {
  const url = URL.parse(value);
  const more = url && `${url.username}${url.password}${url.search}${url.hash}`;
  if (!url || !/^https?:$/.test(url.protocol) || url.port === "0" || more !== "")
    throw new Error(
      "must be a URL such as http://127.0.0.1:4318; credentials go into OTLP_HEADERS",
    );
  return value.replace(/[/?#]+$/, "");
}

export function fraction(value: string): number {
  const part = Number(value);
  if (!/^[\d.]+$/.test(value) || !(part >= 0 && part <= 1))
    throw new Error("must be a number from 0 to 1, such as 0.1");
  return part;
}

/** Reads the name of a header (RFC 9110). Returns it in lower case, as requests have it. */
export function headerName(value: string): string {
  if (!/^[!#$%&'*+.^_`|~\w-]+$/.test(value)) throw new Error("must be the name of a header");
  return value.toLowerCase();
}

/** As OTEL_EXPORTER_OTLP_HEADERS: `name=value,name=value`, with percent-encoded values. */
export function headers(value: string): Record<string, string> {
  const pairs = value
    .split(",")
    .map((pair) => /^\s*([!#$%&'*+.^_`|~\w-]+)=([\x21-\x7e]*)\s*$/.exec(pair));
  const read = pairs.map((pair) => {
    const [, name = "", text = ""] = pair ?? [];
    const isPlain =
      name !== "" && canDecode(text) && /^[\x20-\x7e]*$/.test(decodeURIComponent(text));
    if (!isPlain)
      throw new Error("must look like name=value,name=value, with percent-encoded ASCII values");
    return [name, decodeURIComponent(text)] as const;
  });
  return Object.fromEntries(read);
}

/** The page that a mailed link opens. May have a query and a fragment. */
export function pageUrl(value: string): string {
  const url = URL.parse(value);
  if (!url || !/^https?:$/.test(url.protocol) || url.username)
    throw new Error("must be an http or https URL such as https://example.com/verify");
  return value;
}

/** Reads `Name <email>`, or an email. */
export function mailAddress(value: string): MailAddress {
  const [, name = "", address = value] = /^"?([^"<>]*?)"?\s*<([^<>]+)>$/.exec(value) ?? [];
  // A line break would start another header (CWE-93).
  if (!/^[^\s@<>]+@[^\s@<>]+$/.test(address) || /\p{Cc}/u.test(value))
    throw new Error("must look like: Example <no-reply@example.com>");
  const [local, domain = ""] = address.split("@");
  return { name: name.trim(), address: `${local}@${domainToASCII(domain)}` };
}

/** A host name or an address literal (RFC 5321, sections 4.1.2 and 4.1.3). */
export function ehloName(value: string): string {
  const [, v6, v4] = /^\[(?:IPv6:([^\]]+)|([^\]]+))\]$/i.exec(value) ?? [];
  const isLiteral = (v6 !== undefined && isIPv6(v6)) || (v4 !== undefined && isIPv4(v4));
  if (
    !isLiteral &&
    !/^(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/i.test(value)
  )
    throw new Error("must be a host name such as mail.example.com, or an IP such as [203.0.113.7]");
  return value;
}

export function privateKeyPem(value: string): string {
  // An env file cannot have line breaks in a value, so they are written as \n.
  const pem = value.replaceAll("\\n", "\n");
  try {
    createPrivateKey(pem);
    return pem;
  } catch {
    throw new Error("must be a private key in PEM");
  }
}

export function color(value: string): string {
  if (!/^#([0-9a-f]{3}){1,2}$/i.test(value))
    throw new Error("must be a color such as #1b1f24 or #fc0");
  return value.length === 4 ? value.replaceAll(/[0-9a-f]/gi, "$&$&") : value;
}

export const readableFolder = readable("folder", readdirSync);
export const readableFile = readable("file", readFileSync);

function readable(kind: "file" | "folder", read: (path: string) => unknown) {
  return (value: string): string => {
    try {
      read(value);
      return value;
    } catch (error) {
      throw new Error(`names a ${kind} that cannot be read (${whyUnreadable(value, error)})`);
    }
  };
}

/** Refuses text that only a shell expands, because it would become part of the name. */
export function directory(value: string): string {
  if (isUnexpanded(value))
    throw new Error(
      "begins with ~ or % or contains $, which only a shell expands: write the full path",
    );
  return value;
}

export function secretKey(value: string): string {
  const weakness = weaknessOf(value);
  if (weakness) throw new Error(`${weakness}; generate one: openssl rand -hex 32`);
  return value;
}

/** A secret that fits into an Authorization header. */
export function bearerToken(value: string): string {
  if (!/^[\x21-\x7e]+$/.test(value))
    throw new Error("must be ASCII without spaces; generate one: openssl rand -hex 32");
  return secretKey(value);
}

/** The minimum costs of OWASP's Password Storage Cheat Sheet, all equally strong. */
const leastCosts: HashCost[] = [
  { kibibytes: 47_104, passes: 1 },
  { kibibytes: 19_456, passes: 2 },
  { kibibytes: 12_288, passes: 3 },
  { kibibytes: 9_216, passes: 4 },
  { kibibytes: 7_168, passes: 5 },
];

export function hashCost(value: string): HashCost {
  const [, m, t] = /^m=(\d{1,7}),t=(\d{1,3})$/.exec(value) ?? [];
  const cost = { kibibytes: Number(m ?? 0), passes: Number(t ?? 0) };
  // Above the bound, no sign-in could verify the new hashes.
  const excess = argon2Excess({ ...cost, lanes: 1 });
  if (excess) throw new Error(excess);
  if (
    !leastCosts.some(
      ({ kibibytes, passes }) => cost.kibibytes >= kibibytes && cost.passes >= passes,
    )
  )
    throw new Error(
      "must look like m=19456,t=2, and be at least as strong (as m=12288,t=3 and m=47104,t=1 are)",
    );
  return cost;
}
