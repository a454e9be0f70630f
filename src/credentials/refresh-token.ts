import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";

/**
 * A refresh token (RFC 6749, section 1.5): the session that it continues, how many came before it, and a secret. The seed is
 * the same in all tokens of a session; the tag proves by it that nobody made this token up, whatever became of the secret.
 * The database has hashes of seed and secret, so a token can be made from neither a copy of it nor from `SECRET_KEY`.
 * Half of the seed is random, the other half a MAC (`refreshSeeds`). With `SECRET_KEY` one can make tokens that count
 * against the limits of a session, but none that continues or ends one: the hash of the seed decides about that.
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
  /** Whether we made this seed for this session. Without the database, so only limits may depend on it. */
  isOurs: (token: Pick<RefreshToken, "sessionId" | "seed">) => boolean;
}

/** The first key makes seeds, all of them recognize one. A seed made under a key that is gone is still good, but not recognized. */
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

export const hashOf = (bytes: Buffer): Buffer =>
  Buffer.from(new Bun.CryptoHasher("sha256").update(bytes).digest());

/** What follows a spent secret: the same for every retry, and nothing that the database could work out by itself. */
export const successorOf = (secret: Buffer, nonce: Buffer): Buffer =>
  createHmac("sha256", secret).update(nonce).digest();

export function writeRefreshToken(token: RefreshToken): string {
  const body = bodyOf(token);
  return PREFIX + Buffer.concat([body, tagOf(token.seed, body)]).toString("base64url");
}

/** True for what looks like a refresh token, ours or not. */
export const looksLikeRefreshToken = (text: string) => text.startsWith(PREFIX);

/** The parts of a token that is whole and in its one spelling; undefined for everything else. Never throws. */
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
