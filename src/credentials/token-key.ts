import { type KeyObject, randomBytes, timingSafeEqual, verify } from "node:crypto";
import { jwt } from "@elysiajs/jwt";
import { derivedKey } from "./secret.ts";

export const algorithms = ["HS256", "EdDSA", "ES256"] as const;
export type Algorithm = (typeof algorithms)[number];
export type Payload = Record<string, string | number>;

/** A key for access tokens. It has exactly one algorithm (RFC 8725, section 3.1). */
export interface TokenKey {
  kid: string;
  /** The exact header of its tokens. A token is matched to its key by this text only. */
  header: string;
  sign: (claims: Payload) => Promise<string>;
  /**
   * True if this key made `signature` for `text`. Synchronous, and never throws. (A valid ES256
   * signature can be turned into a second one: identify a token by its `jti`.)
   */
  isSignature: (text: string, signature: string) => boolean;
}

const TYPE = "at+jwt";
const headerOf = (alg: Algorithm, kid: string) =>
  Buffer.from(JSON.stringify({ alg, kid, typ: TYPE })).toString("base64url");

const KID_BYTES = 16;
export const newKid = (): string => randomBytes(KID_BYTES).toString("base64url");

/** Headers of key pairs differ only in the `kid`: the length and the beginning are the same. */
const samples = (["EdDSA", "ES256"] as const).map((alg) => headerOf(alg, newKid()));
const PREFIX_LENGTH = 28;
export const looksLikeHeader = (header: string): boolean =>
  samples.some(
    (sample) =>
      sample.length === header.length &&
      sample.slice(0, PREFIX_LENGTH) === header.slice(0, PREFIX_LENGTH),
  );

/** The name of a secret: 72 bits from HKDF, which reveal nothing about it. */
export const secretName = (secret: string): string =>
  derivedKey(secret, "key names").subarray(0, 9).toString("base64url");

/** HMAC-SHA-256 with a secret of the operator. */
export function secretKeyOf(secret: string): TokenKey {
  const kid = secretName(secret);
  const key = new TextEncoder().encode(secret);
  const mac = (text: string) =>
    Buffer.from(new Bun.CryptoHasher("sha256", key).update(text).digest("base64url"));
  return {
    kid,
    header: headerOf("HS256", kid),
    sign: jwt({ secret, alg: "HS256", kid, typ: TYPE }).decorator.jwt.sign,
    // Compares the text, not the bytes, so that each token has only one valid spelling.
    isSignature: (text, signature) => {
      const [expected, given] = [mac(text), Buffer.from(signature)];
      return expected.length === given.length && timingSafeEqual(expected, given);
    },
  };
}

export interface KeyPair {
  kid: string;
  algorithm: Exclude<Algorithm, "HS256">;
  publicKey: KeyObject;
  /** Undefined if it is encrypted with a secret that we do not have. Then the key only verifies. */
  privateKey: KeyObject | undefined;
}

const SIGNATURE_BYTES = 64;

/** Ed25519 (RFC 8037), or ECDSA on P-256 with SHA-256 (RFC 7518, section 3.4). */
export function pairKeyOf({ kid, algorithm, publicKey, privateKey }: KeyPair): TokenKey {
  const digest = algorithm === "ES256" ? "sha256" : null;
  const key = { key: publicKey, dsaEncoding: "ieee-p1363" as const };
  const unable = () =>
    Promise.reject(new Error(`keys: the private key of ${kid} is not available`));
  return {
    kid,
    header: headerOf(algorithm, kid),
    sign: privateKey
      ? jwt({ secret: privateKey as never, alg: algorithm, kid, typ: TYPE }).decorator.jwt.sign
      : unable,
    isSignature: (text, signature) => {
      const bytes = Buffer.from(signature, "base64url");
      return (
        bytes.length === SIGNATURE_BYTES &&
        bytes.toString("base64url") === signature &&
        verify(digest, Buffer.from(text), key, bytes)
      );
    },
  };
}
