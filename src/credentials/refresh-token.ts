import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";

/**
 * A refresh token (RFC 6749, section 1.5): its session, the number of tokens before it
 * (`generation`, which only the detection of reuse needs), a seed and a secret.
 *
 * All tokens of a session have the same seed, also the spent ones. The database has the hashes of
 * the seed and of the current secret. A token continues its session if both match. A spent token
 * ends it if the seed matches. So a token cannot be made from a copy of the database, nor from
 * `SECRET_KEY`.
 *
 * Half of the seed is random, the other half is a MAC (`refreshSeeds`). It tells an issued token
 * from a made-up one without the database, for rate limits only. The tag at the end detects a
 * damaged token.
 */
export interface RefreshToken {
  sessionId: string;
  generation: number;
  seed: Buffer;
  secret: Buffer;
}

const PREFIX = "rt_";
const SEED_BYTES = 16;
const SEED_RANDOM_BYTES = 8;
const SECRET_BYTES = 32;
const TAG_BYTES = 16;
const BYTES = 16 + 4 + SEED_BYTES + SECRET_BYTES + TAG_BYTES;
const LENGTH = PREFIX.length + Math.ceil((BYTES * 4) / 3);

export interface RefreshSeeds {
  create: (sessionId: string) => Buffer;
  /** True for a seed of ours. Does not ask the database: only rate limits may depend on it. */
  isOurs: (token: Pick<RefreshToken, "sessionId" | "seed">) => boolean;
}

/** The first key makes seeds, all keys recognize them. A seed stays valid without its key. */
export function refreshSeeds(keys: readonly [Buffer, ...Buffer[]]): RefreshSeeds {
  const seedOf = (sessionId: string, random: Buffer, key: Buffer) => {
    const mac = createHmac("sha256", key).update(sessionId).update(random).digest();
    return Buffer.concat([random, mac.subarray(0, SEED_BYTES - SEED_RANDOM_BYTES)]);
  };
  return {
    create: (sessionId) => seedOf(sessionId, randomBytes(SEED_RANDOM_BYTES), keys[0]),
    isOurs: ({ sessionId, seed }) => {
      const random = seed.subarray(0, SEED_RANDOM_BYTES);
      return keys.some((key) => timingSafeEqual(seedOf(sessionId, random, key), seed));
    },
  };
}

export const newSecret = () => randomBytes(SECRET_BYTES);

/** The same for every retry, and not computable from the contents of the database. */
export const successorOf = (secret: Buffer, nonce: Buffer): Buffer =>
  createHmac("sha256", secret).update(nonce).digest();

export function writeRefreshToken(token: RefreshToken): string {
  const body = bodyOf(token);
  return PREFIX + Buffer.concat([body, tagOf(token.seed, body)]).toString("base64url");
}

export const looksLikeRefreshToken = (text: string) => text.startsWith(PREFIX);

/** Accepts only a complete token in its one valid spelling, with its tag. Never throws. */
export function readRefreshToken(text: string): RefreshToken | undefined {
  if (text.length !== LENGTH || !looksLikeRefreshToken(text)) return undefined;
  const encoded = text.slice(PREFIX.length);
  const bytes = Buffer.from(encoded, "base64url");
  if (bytes.length !== BYTES || bytes.toString("base64url") !== encoded) return undefined;
  const body = bytes.subarray(0, BYTES - TAG_BYTES);
  const seed = body.subarray(20, 20 + SEED_BYTES);
  if (!timingSafeEqual(tagOf(seed, body), bytes.subarray(BYTES - TAG_BYTES))) return undefined;
  return {
    sessionId: idOf(body.subarray(0, 16)),
    generation: body.readUInt32BE(16),
    seed,
    secret: body.subarray(20 + SEED_BYTES),
  };
}

function bodyOf({ sessionId, generation, seed, secret }: RefreshToken): Buffer {
  const count = Buffer.alloc(4);
  count.writeUInt32BE(generation);
  return Buffer.concat([Buffer.from(sessionId.replaceAll("-", ""), "hex"), count, seed, secret]);
}

const tagOf = (seed: Buffer, body: Buffer): Buffer =>
  createHmac("sha256", seed).update(body).digest().subarray(0, TAG_BYTES);

const idOf = (bytes: Buffer): string =>
  bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
