import { createHash, pbkdf2, scrypt, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";

const runScrypt = promisify<Buffer, Buffer, number, object, Buffer>(scrypt);
const runPbkdf2 = promisify(pbkdf2);

/** Compares a password, in UTF-8, with one stored hash. */
type Check = (password: Buffer) => Promise<boolean>;

/** A way of hashing, by how its hashes begin; undefined for what is not well-formed, or demands more than the bounds. */
interface Format {
  prefix: RegExp;
  read: (hash: string) => Check | undefined;
}

/** What a stored hash may demand at most: it came from elsewhere, and each sign-in would obey it. */
const bounds = {
  argon2Kibibytes: 262_144,
  argon2Work: 2_097_152,
  argon2Lanes: 16,
  bcryptCost: 14,
  scryptBytes: 67_108_864,
  scryptLanes: 16,
  pbkdf2Iterations: 2_000_000,
  pbkdf2KeyBytes: 64,
  hashLength: 512,
};
const BCRYPT_MAX_BYTES = 72;
const HASH_MIN_BYTES = 16;

// The last letter of 16 and of 23 bytes has bits to spare: another spelling of them makes Bun throw.
const BCRYPT = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{30}[.CGKOSWaeimquy26]$/;
const ARGON2 =
  /^\$argon2(?:id|i|d)\$v=19\$m=(\d{1,7}),t=(\d{1,4}),p=(\d{1,3})\$([A-Za-z0-9+/]{11,})\$([A-Za-z0-9+/]{22,})$/;
const isCanonical = (text: string) =>
  Buffer.from(text, "base64").toString("base64").replace(/=+$/, "") === text;

function argon2(hash: string): Check | undefined {
  const [, ...found] = ARGON2.exec(hash) ?? [];
  const [m = 0, t = 0, lanes = 0] = found.slice(0, 3).map(Number);
  const fits =
    found.slice(3).every(isCanonical) &&
    m >= 8 * lanes &&
    m <= bounds.argon2Kibibytes &&
    m * t <= bounds.argon2Work &&
    lanes <= bounds.argon2Lanes;
  return m * t * lanes > 0 && fits ? (password) => Bun.password.verify(password, hash) : undefined;
}

/** Everybody's bcrypt reads 72 bytes; Bun's would hash a longer password first. */
function bcrypt(hash: string): Check | undefined {
  const cost = Number(BCRYPT.exec(hash)?.[1] ?? 0);
  if (cost < 4 || cost > bounds.bcryptCost) return undefined;
  return (password) => Bun.password.verify(password.subarray(0, BCRYPT_MAX_BYTES), hash);
}

/** Django's: bcrypt of the hexadecimal SHA-256. */
function bcryptOfSha256(hash: string): Check | undefined {
  const check = bcrypt(hash);
  return (
    check && ((password) => check(Buffer.from(createHash("sha256").update(password).digest("hex"))))
  );
}

interface Derived {
  salt: Buffer;
  key: Buffer;
}

function scryptOf({ salt, key }: Derived, [n, r, p]: [n: number, r: number, p: number]) {
  const isPower = n > 1 && (n & (n - 1)) === 0;
  if (!isPower || r < 1 || p < 1 || p > bounds.scryptLanes) return undefined;
  if (128 * n * r > bounds.scryptBytes || key.length < HASH_MIN_BYTES) return undefined;
  const options = { N: n, r, p, maxmem: 2 * bounds.scryptBytes };
  return async (password: Buffer) =>
    timingSafeEqual(await runScrypt(password, salt, key.length, options), key);
}

function pbkdf2Of({ salt, key }: Derived, digest: string, iterations: number) {
  // Each further block of the key costs all iterations again.
  if (iterations < 1 || iterations > bounds.pbkdf2Iterations) return undefined;
  if (key.length < HASH_MIN_BYTES || key.length > bounds.pbkdf2KeyBytes) return undefined;
  return async (password: Buffer) =>
    timingSafeEqual(await runPbkdf2(password, salt, iterations, key.length, digest), key);
}

/** Base64 as it comes: with passlib's dots for plus signs, with padding or without. */
const bytes = (text = "") => Buffer.from(text.replaceAll(".", "+"), "base64");
const digests: Record<string, string> = {
  "": "sha1",
  "-sha1": "sha1",
  "-sha256": "sha256",
  "-sha512": "sha512",
};

function phcScrypt(hash: string): Check | undefined {
  const [, ln, r, p, salt, key] =
    /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,3}),p=(\d{1,3})\$([\w+/.-]+)\$([\w+/.-]+)$/.exec(hash) ?? [];
  return scryptOf({ salt: bytes(salt), key: bytes(key) }, [
    2 ** Number(ln ?? 0),
    Number(r),
    Number(p),
  ]);
}

function djangoScrypt(hash: string): Check | undefined {
  const [, n, salt = "", r, p, key] =
    /^scrypt\$(\d{1,8})\$([^$]{1,128})\$(\d{1,3})\$(\d{1,3})\$([\w+/=]+)$/.exec(hash) ?? [];
  return scryptOf({ salt: Buffer.from(salt), key: bytes(key) }, [Number(n), Number(r), Number(p)]);
}

function phcPbkdf2(hash: string): Check | undefined {
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

function djangoPbkdf2(hash: string): Check | undefined {
  const [, digest = "", iterations, salt = "", key] =
    /^pbkdf2_(sha1|sha256|sha512)\$(\d{1,8})\$([^$]{1,128})\$([\w+/=]+)$/.exec(hash) ?? [];
  return pbkdf2Of({ salt: Buffer.from(salt), key: bytes(key) }, digest, Number(iterations));
}

/** Django writes the name of its hasher before hashes of other people's making. */
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

/** How to compare with a stored hash of any kind that we know; undefined for every other text. Never throws. */
export function readStoredHash(hash: string): Check | undefined {
  if (hash.length > bounds.hashLength) return undefined;
  return formats.find(({ prefix }) => prefix.test(hash))?.read(hash);
}

/** What one hash of ours costs: KiB of memory, and passes over it. */
export interface HashCost {
  kibibytes: number;
  passes: number;
}

/** True for a hash that is not Argon2id, or has less memory or fewer passes than ours have now. */
export function isOutdated(hash: string, { kibibytes, passes }: HashCost): boolean {
  const [, m, t] = /^\$argon2id\$v=19\$m=(\d+),t=(\d+),p=\d+\$/.exec(hash) ?? [];
  return Number(m ?? 0) < kibibytes || Number(t ?? 0) < passes;
}
