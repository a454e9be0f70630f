import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type JsonWebKeyInput,
  type KeyObject,
} from "node:crypto";
import { seal, unseal } from "./encryption.ts";
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

/** A key pair as the database keeps it. `next` signs nothing yet, `retired` nothing any more; all of them verify. */
export interface StoredKey {
  kid: string;
  algorithm: PairAlgorithm;
  state: "next" | "current" | "retired";
  publicJwk: Jwk;
  /** The private part as PKCS #8, sealed (`credentials/encryption`) under a name that is the key's. */
  wrapped: Buffer;
  /** The name of the secret under which it is wrapped. */
  wrappedBy: string;
}

/** Until when tokens that a key has signed may be valid. Instances that sign with the key extend it. */
export interface KeyUse {
  kid: string;
  acceptedUntil: Date;
}

export interface KeyRing {
  algorithm: Algorithm;
  signing: () => TokenKey;
  /** The name of the key that signs, where there is one. */
  signingKid: () => string | undefined;
  /**
   * Finds the key of a token by the token's first part, letter for letter. Undefined once the last token that the key signed has
   * expired: only an attacker who has the key still signs with it then.
   */
  find: (header: string, now: Date) => TokenKey | undefined;
  /** True for a token of a key that is unknown or not accepted here, but that another instance may have begun to sign with. */
  isExpected: (token: string, now: Date) => boolean;
  /** Takes in what the database keeps. Answers false where that has changed, and its current key cannot be opened. */
  learn: (stored: StoredKey[], uses: KeyUse[]) => boolean;
  /** The public keys that are accepted, for services that verify our tokens (RFC 7517). */
  published: (now: Date) => Jwk[];
  make: (algorithm: PairAlgorithm, state: "next" | "current") => StoredKey;
  /** True where we can sign with it. */
  isOpen: (stored: StoredKey) => boolean;
  /** The same key, wrapped under today's secret; undefined where it is already, or cannot be opened. */
  rewrapped: (stored: StoredKey) => StoredKey | undefined;
}

/** The keys of this process: the secrets that it was given, the first of which signs and wraps, and the pairs in the database. */
export function openKeyRing({
  algorithm,
  secrets,
}: {
  algorithm: Algorithm;
  secrets: readonly [string, ...string[]];
}): KeyRing {
  const shared = secrets.map(secretKeyOf);
  const { opened, newest, open, sealed } = openWrapping(secrets);
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

  const takeIn = (stored: StoredKey[]): boolean => {
    known = stored;
    const pairs = stored.map((one) => ({ one, key: tokenKeyOf(one, open(one)) }));
    keys = new Map([...shared, ...pairs.map(({ key }) => key)].map((key) => [key.header, key]));
    if (algorithm === "HS256") return true;
    const able = pairs.filter(({ one }) => one.algorithm === algorithm && opened.has(one.kid));
    const current = able.find(({ one }) => one.state === "current");
    // Somebody with another secret has put a key in its place. One that is retired still verifies everywhere: going on with
    // it for some hours is better than signing nobody in.
    const before = able.find(({ key }) => key.kid === signing?.kid);
    signing = (current ?? before ?? able.at(-1))?.key;
    return current !== undefined;
  };

  return {
    algorithm,
    signing: () => {
      if (!signing) throw new Error(`keys: there is none yet to sign with by ${algorithm}`);
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
      return JSON.stringify(stored) === JSON.stringify(known) || takeIn(stored);
    },
    published: (now) =>
      known
        .filter(({ kid }) => isAccepted(kid, now))
        .map(({ kid, algorithm: alg, publicJwk }) => ({ ...publicJwk, kid, alg, use: "sig" })),
    make: (pairAlgorithm, state) => {
      const kid = newKid();
      const { publicKey, privateKey } = pairOf(pairAlgorithm);
      opened.set(kid, privateKey);
      const publicJwk = publicKey.export({ format: "jwk" });
      return { kid, algorithm: pairAlgorithm, state, publicJwk, ...sealed(kid, privateKey) };
    },
    isOpen: (stored) => open(stored) !== undefined,
    rewrapped: (stored) => {
      const key = stored.wrappedBy === newest ? undefined : open(stored);
      return key && { ...stored, ...sealed(stored.kid, key) };
    },
  };
}

const EPOCH = new Date(0);

/** Private parts, wrapped under a secret. */
function openWrapping(secrets: readonly [string, ...string[]]) {
  const wrappers = new Map(
    secrets.map((secret) => [secretName(secret), derivedKey(secret, "signing keys")]),
  );
  const newest = secretName(secrets[0]);
  // What was opened once stays open: another instance may have wrapped it under a secret that only it was given.
  const opened = new Map<string, KeyObject>();
  const open = (stored: StoredKey): KeyObject | undefined => {
    const wrapper = wrappers.get(stored.wrappedBy);
    const key = opened.get(stored.kid) ?? (wrapper && unwrap(stored, wrapper));
    if (key) opened.set(stored.kid, key);
    return key;
  };
  const sealed = (kid: string, key: KeyObject) => ({
    wrapped: wrap(kid, key, wrappers.get(newest) as Buffer),
    wrappedBy: newest,
  });
  return { opened, newest, open, sealed };
}

const pairOf = (algorithm: PairAlgorithm) =>
  algorithm === "EdDSA"
    ? generateKeyPairSync("ed25519")
    : generateKeyPairSync("ec", { namedCurve: "P-256" });

const tokenKeyOf = (
  { kid, algorithm, publicJwk }: StoredKey,
  privateKey: KeyObject | undefined,
): TokenKey => {
  const publicKey = createPublicKey({ key: publicJwk, format: "jwk" });
  return pairKeyOf({ kid, algorithm, publicKey, privateKey });
};

const wrap = (kid: string, privateKey: KeyObject, wrapper: Buffer): Buffer =>
  seal(privateKey.export({ format: "der", type: "pkcs8" }), { key: wrapper, name: kid });

/** Undefined where the bytes were tampered with. */
function unwrap({ kid, wrapped }: StoredKey, wrapper: Buffer): KeyObject | undefined {
  const clear = unseal(wrapped, { key: wrapper, name: kid });
  return clear && createPrivateKey({ key: clear, format: "der", type: "pkcs8" });
}
