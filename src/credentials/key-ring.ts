import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type JsonWebKeyInput,
  type KeyObject,
} from "node:crypto";
import { decrypt, encrypt } from "./encryption.ts";
import { derivedKey } from "./secret.ts";
import {
  type Algorithm,
  looksLikeHeader,
  newKid,
  pairKeyOf,
  secretKeyOf,
  secretName,
  type TokenKey,
} from "./token-key.ts";

/** A JSON Web Key (RFC 7517). */
export type Jwk = JsonWebKeyInput["key"];
export type PairAlgorithm = Exclude<Algorithm, "HS256">;

/** Only the `current` key of an algorithm signs. All of them verify. */
export interface StoredKey {
  kid: string;
  algorithm: PairAlgorithm;
  state: "next" | "current" | "retired";
  publicJwk: Jwk;
  /** PKCS #8, encrypted (`credentials/encryption`) with the `kid` as its name. */
  encryptedKey: Buffer;
  /** The name of the secret that encrypts the private key. */
  encryptedWith: string;
}

/** Tokens of a key are accepted until then. Instances that sign with the key extend it. */
export interface KeyUse {
  kid: string;
  acceptedUntil: Date;
}

export interface KeyRing {
  algorithm: Algorithm;
  signing: () => TokenKey;
  signingKid: () => string | undefined;
  /**
   * Finds the key of a token by its exact header, until the last token that the key signed has
   * expired: after that, only an attacker with a leaked key would still sign with it.
   */
  find: (header: string, now: Date) => TokenKey | undefined;
  /** True if the key is not accepted here, but another instance may already sign with it. */
  isExpected: (token: string, now: Date) => boolean;
  /** Loads the database's keys. False if they changed and the current one cannot be decrypted. */
  learn: (stored: StoredKey[], uses: KeyUse[]) => boolean;
  /** The public keys that are accepted, for services that verify our tokens (RFC 7517). */
  published: (now: Date) => Jwk[];
  make: (algorithm: PairAlgorithm, state: "next" | "current") => StoredKey;
  isOpen: (stored: StoredKey) => boolean;
  /** Encrypts a key with the current secret, if it can be decrypted and is not encrypted so yet. */
  reencrypted: (stored: StoredKey) => StoredKey | undefined;
}

/** The first secret signs (HS256) and encrypts the private keys of the database. */
export function openKeyRing({
  algorithm,
  secrets,
}: {
  algorithm: Algorithm;
  secrets: readonly [string, ...string[]];
}): KeyRing {
  const shared = secrets.map(secretKeyOf);
  const { decrypted, newest, open, encrypted } = openEncryption(secrets);
  let keys = new Map(shared.map((key) => [key.header, key]));
  let known: StoredKey[] = [];
  let acceptedUntil = new Map<string, Date>();
  let signing = algorithm === "HS256" ? shared[0] : undefined;
  const sharedHeaders = new Set(keys.keys());

  const isInUse = (kid: string) =>
    kid === signing?.kid ||
    known.some((one) => one.kid === kid && one.algorithm === algorithm && one.state !== "retired");
  const isAccepted = (kid: string, now: Date) =>
    isInUse(kid) || now < (acceptedUntil.get(kid) ?? EPOCH);
  const find = (header: string, now: Date) => {
    const key = keys.get(header);
    return key && isAccepted(key.kid, now) ? key : undefined;
  };

  const load = (stored: StoredKey[]): boolean => {
    known = stored;
    const pairs = stored.map((one) => {
      const publicKey = createPublicKey({ key: one.publicJwk, format: "jwk" });
      return { one, key: pairKeyOf({ ...one, publicKey, privateKey: open(one) }) };
    });
    keys = new Map([...shared, ...pairs.map(({ key }) => key)].map((key) => [key.header, key]));
    if (algorithm === "HS256") return true;
    const usable = pairs.filter(({ one }) => one.algorithm === algorithm && decrypted.has(one.kid));
    const current = usable.find(({ one }) => one.state === "current");
    // An instance with another secret may have created the current key. A retired key still
    // verifies everywhere: signing with it for some hours is better than refusing all sign-ins.
    const previous = usable.find(({ key }) => key.kid === signing?.kid);
    signing = (current ?? previous ?? usable.at(-1))?.key;
    return current !== undefined;
  };

  return {
    algorithm,
    signing: () => {
      if (!signing) throw new Error(`keys: no signing key exists for ${algorithm} yet`);
      return signing;
    },
    signingKid: () => signing?.kid,
    find,
    isExpected: (token, now) => {
      const header = token.slice(0, token.indexOf("."));
      const mayBeOurs = looksLikeHeader(header) || sharedHeaders.has(header);
      return mayBeOurs && find(header, now) === undefined;
    },
    learn: (stored, uses) => {
      acceptedUntil = new Map(uses.map((use) => [use.kid, use.acceptedUntil]));
      return JSON.stringify(stored) === JSON.stringify(known) || load(stored);
    },
    published: (now) =>
      known
        .filter(({ kid }) => isAccepted(kid, now))
        .map(({ kid, algorithm: alg, publicJwk }) => ({ ...publicJwk, kid, alg, use: "sig" })),
    make: (pairAlgorithm, state) => {
      const kid = newKid();
      const { publicKey, privateKey } = pairOf(pairAlgorithm);
      decrypted.set(kid, privateKey);
      const publicJwk = publicKey.export({ format: "jwk" });
      return { kid, algorithm: pairAlgorithm, state, publicJwk, ...encrypted(kid, privateKey) };
    },
    isOpen: (stored) => open(stored) !== undefined,
    reencrypted: (stored) => {
      const key = stored.encryptedWith === newest ? undefined : open(stored);
      return key && { ...stored, ...encrypted(stored.kid, key) };
    },
  };
}

const EPOCH = new Date(0);
const PKCS8 = { format: "der", type: "pkcs8" } as const;

function openEncryption(secrets: readonly [string, ...string[]]) {
  const encryptionKeys = new Map(
    secrets.map((secret) => [secretName(secret), derivedKey(secret, "signing keys")]),
  );
  const newest = secretName(secrets[0]);
  // A decrypted key stays in memory: another instance may have encrypted it again with a secret
  // that only that instance has.
  const decrypted = new Map<string, KeyObject>();
  const open = (stored: StoredKey): KeyObject | undefined => {
    const known = decrypted.get(stored.kid);
    const key = encryptionKeys.get(stored.encryptedWith);
    if (known || !key) return known;
    const clear = decrypt(stored.encryptedKey, { key, name: stored.kid });
    if (!clear) return undefined;
    const opened = createPrivateKey({ key: clear, ...PKCS8 });
    decrypted.set(stored.kid, opened);
    return opened;
  };
  const encrypted = (kid: string, privateKey: KeyObject) => {
    const key = encryptionKeys.get(newest) as Buffer;
    const encryptedKey = encrypt(privateKey.export(PKCS8), { key, name: kid });
    return { encryptedKey, encryptedWith: newest };
  };
  return { decrypted, newest, open, encrypted };
}

const pairOf = (algorithm: PairAlgorithm) =>
  algorithm === "EdDSA"
    ? generateKeyPairSync("ed25519")
    : generateKeyPairSync("ec", { namedCurve: "P-256" });
