import { pbkdf2, scrypt, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";
import { sha256 } from "../kit/digest.ts";

const runScrypt = promisify<Buffer, Buffer, number, object, Buffer>(scrypt);
const runPbkdf2 = promisify(pbkdf2);

type Check = (password: Buffer) => Promise<boolean>;

/** Why a hash is refused, without its bytes. Names the parameter that exceeds its bound. */
type Refusal = string;

interface Format {
  prefix: RegExp;
  read: (hash: string) => Check | Refusal;
}

/**
 * Hashes may be imported, and each sign-in pays their cost in one of the few hashing slots
 * (CWE-400). The comments give the most CPU time, as a multiple of our own default hash's (`bun
 * bench/stored-hashes.ts`).
 */
const bounds = {
  /** KiB of memory × passes × lanes: 30 times. */
  argon2Work: 1_048_576,
  /** The memory of one hashing slot. */
  argon2Kibibytes: 131_072,
  argon2Lanes: 16,
  /** Passes × lanes: 4 times. Each pass starts four threads for each lane. */
  argon2Turns: 1_024,
  /** 25 times. */
  bcryptCost: 14,
  /** N × r × p: 28 times. */
  scryptWork: 4_194_304,
  scryptBytes: 134_217_728,
  /** r × p, of 128 bytes each. */
  scryptLanes: 65_536,
  /** Iterations × blocks of the key: 6 times with SHA-1 and SHA-256, 25 times with SHA-512. */
  pbkdf2Work: 2_000_000,
  hashLength: 512,
};
const BCRYPT_MAX_BYTES = 72;
const HASH_MIN_BYTES = 16;

const UNKNOWN: Refusal =
  "is not a well-formed hash in a supported format (argon2, bcrypt, scrypt, PBKDF2)";

/** Names the first value that exceeds its bound, if any. */
function excessOf(kind: string, values: [name: string, value: number, max: number][]) {
  const excess = values.find(([, value, max]) => !(value <= max));
  return excess && `costs too much at each sign-in: ${kind} ${excess[0]} is above ${excess[2]}`;
}

// The last character of 16 and of 23 bytes has unused bits. Bun throws if they are not zero.
const BCRYPT = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{30}[.CGKOSWaeimquy26]$/;
const ARGON2 =
  /^\$argon2(?:id|i|d)\$v=19\$m=(\d{1,7}),t=(\d{1,4}),p=(\d{1,3})\$([A-Za-z0-9+/]{11,})\$([A-Za-z0-9+/]{22,})$/;
const isCanonical = (text: string) =>
  Buffer.from(text, "base64").toString("base64").replace(/=+$/, "") === text;

/** Names the parameter of Argon2 that exceeds its bound, if any. */
export function argon2Excess(cost: HashCost & { lanes: number }): Refusal | undefined {
  const { kibibytes, passes, lanes } = cost;
  // Django's default exceeds the bound because of its eight lanes, but takes only 6 times as long
  // as ours.
  if (kibibytes === 102_400 && passes === 2 && lanes === 8) return undefined;
  return excessOf("argon2", [
    ["p", lanes, bounds.argon2Lanes],
    ["m", kibibytes, bounds.argon2Kibibytes],
    ["m × t × p", kibibytes * passes * lanes, bounds.argon2Work],
    ["t × p", passes * lanes, bounds.argon2Turns],
  ]);
}

function argon2(hash: string): Check | Refusal {
  const [, ...found] = ARGON2.exec(hash) ?? [];
  const [kibibytes = 0, passes = 0, lanes = 0] = found.slice(0, 3).map(Number);
  const isWhole = passes * lanes > 0 && kibibytes >= 8 * lanes;
  if (!isWhole || !found.slice(3).every(isCanonical)) return UNKNOWN;
  return (
    argon2Excess({ kibibytes, passes, lanes }) ??
    ((password) => Bun.password.verify(password, hash))
  );
}

/** Like other implementations, reads 72 bytes. Bun would hash a longer password first. */
function bcrypt(hash: string): Check | Refusal {
  const cost = Number(BCRYPT.exec(hash)?.[1] ?? 0);
  if (cost < 4) return UNKNOWN;
  return (
    excessOf("bcrypt", [["cost", cost, bounds.bcryptCost]]) ??
    ((password) => Bun.password.verify(password.subarray(0, BCRYPT_MAX_BYTES), hash))
  );
}

/** Django's format: bcrypt of the hexadecimal SHA-256. */
function bcryptOfSha256(hash: string): Check | Refusal {
  const check = bcrypt(hash);
  if (typeof check === "string") return check;
  return (password) => check(Buffer.from(sha256(password).toString("hex")));
}

interface Derived {
  salt: Buffer;
  key: Buffer;
}

/** Refuses what node's scrypt would throw on at each sign-in (RFC 7914, section 6). */
function scryptOf(
  { salt, key }: Derived,
  [n, r, p]: [n: number, r: number, p: number],
): Check | Refusal {
  const isPower = n > 1 && Number.isInteger(Math.log2(n));
  if (!isPower || !(r >= 1) || !(p >= 1) || key.length < HASH_MIN_BYTES) return UNKNOWN;
  if (Math.log2(n) >= 16 * r)
    return "has a scrypt N that r does not allow: N must be below 2^(16r)";
  const excess = excessOf("scrypt", [
    ["N × r × p", n * r * p, bounds.scryptWork],
    ["128 × N × r", 128 * n * r, bounds.scryptBytes],
    ["r × p", r * p, bounds.scryptLanes],
  ]);
  const options = { N: n, r, p, maxmem: 2 * bounds.scryptBytes };
  return (
    excess ??
    (async (password) => timingSafeEqual(await runScrypt(password, salt, key.length, options), key))
  );
}

const digestBytes = { sha1: 20, sha256: 32, sha512: 64 };
type Digest = keyof typeof digestBytes;

function pbkdf2Of({ salt, key }: Derived, digest: Digest, iterations: number): Check | Refusal {
  if (!(iterations >= 1) || key.length < HASH_MIN_BYTES) return UNKNOWN;
  // Each block of the key costs all iterations again.
  const blocks = Math.ceil(key.length / digestBytes[digest]);
  return (
    excessOf("PBKDF2", [["iterations × blocks", iterations * blocks, bounds.pbkdf2Work]]) ??
    (async (password) =>
      timingSafeEqual(await runPbkdf2(password, salt, iterations, key.length, digest), key))
  );
}

/** Decodes base64 with or without padding, also passlib's, which has dots for plus signs. */
const bytes = (text = "") => Buffer.from(text.replaceAll(".", "+"), "base64");
const digests: Record<string, Digest> = {
  "": "sha1",
  "-sha1": "sha1",
  "-sha256": "sha256",
  "-sha512": "sha512",
};

function phcScrypt(hash: string): Check | Refusal {
  const [, ln, r, p, salt, key] =
    /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,3}),p=(\d{1,3})\$([\w+/.-]+)\$([\w+/.-]+)$/.exec(hash) ?? [];
  return scryptOf({ salt: bytes(salt), key: bytes(key) }, [
    2 ** Number(ln ?? 0),
    Number(r),
    Number(p),
  ]);
}

function djangoScrypt(hash: string): Check | Refusal {
  const [, n, salt = "", r, p, key] =
    /^scrypt\$(\d{1,8})\$([^$]{1,128})\$(\d{1,3})\$(\d{1,3})\$([\w+/=]+)$/.exec(hash) ?? [];
  return scryptOf({ salt: Buffer.from(salt), key: bytes(key) }, [Number(n), Number(r), Number(p)]);
}

function phcPbkdf2(hash: string): Check | Refusal {
  const [, kind = "", iterations, salt, key] =
    /^\$pbkdf2(|-sha1|-sha256|-sha512)\$(?:i=)?(\d{1,8})(?:,l=\d{1,3})?\$([\w+/.-]+)\$([\w+/.-]+)$/.exec(
      hash,
    ) ?? [];
  return pbkdf2Of(
    { salt: bytes(salt), key: bytes(key) },
    digests[kind] ?? "sha1",
    Number(iterations),
  );
}

function djangoPbkdf2(hash: string): Check | Refusal {
  const [, digest = "", iterations, salt = "", key] =
    /^pbkdf2_(sha1|sha256|sha512)\$(\d{1,8})\$([^$]{1,128})\$([\w+/=]+)$/.exec(hash) ?? [];
  const derived = { salt: Buffer.from(salt), key: bytes(key) };
  return pbkdf2Of(derived, digest as Digest, Number(iterations));
}

/** Django puts the name of its hasher before hashes of other libraries. */
const behind = (prefix: string, read: Format["read"]) => (hash: string) =>
  read(hash.slice(prefix.length));

const formats: Format[] = [
  { prefix: /^\$argon2/, read: argon2 },
  { prefix: /^argon2\$/, read: behind("argon2", argon2) },
  { prefix: /^\$2[aby]\$/, read: bcrypt },
  { prefix: /^bcrypt\$/, read: behind("bcrypt$", bcrypt) },
  { prefix: /^bcrypt_sha256\$/, read: behind("bcrypt_sha256$", bcryptOfSha256) },
  { prefix: /^\$scrypt\$/, read: phcScrypt },
  { prefix: /^scrypt\$/, read: djangoScrypt },
  { prefix: /^\$pbkdf2/, read: phcPbkdf2 },
  { prefix: /^pbkdf2_/, read: djangoPbkdf2 },
];

/** How to compare a password with a stored hash, or why the hash is refused. Never throws. */
export function readStoredHash(hash: string): Check | Refusal {
  if (hash.length > bounds.hashLength) return UNKNOWN;
  return formats.find(({ prefix }) => prefix.test(hash))?.read(hash) ?? UNKNOWN;
}

/** The cost of one of our own hashes: KiB of memory, and passes over it. */
export interface HashCost {
  kibibytes: number;
  passes: number;
}

/** True for a hash that is not Argon2id, or has less memory or fewer passes than new hashes. */
export function isOutdated(hash: string, { kibibytes, passes }: HashCost): boolean {
  const [, m, t] = /^\$argon2id\$v=19\$m=(\d+),t=(\d+),p=\d+\$/.exec(hash) ?? [];
  return Number(m ?? 0) < kibibytes || Number(t ?? 0) < passes;
}
