import { type KeyObject, randomBytes, timingSafeEqual, verify } from "node:crypto";
import { jwt } from "@elysiajs/jwt";
import { derivedKey } from "./secret.ts";

export const algorithms = ["HS256", "EdDSA", "ES256"] as const;
export type Algorithm = (typeof algorithms)[number];
export type Payload = Record<string, string | number>;

/** One key for access tokens, with the one algorithm that it is for (RFC 8725, section 3.1). */
export interface TokenKey {
  kid: string;
  /** The first part of its tokens, letter for letter: by that text a token finds its key, and by nothing else. */
  header: string;
  sign: (claims: Payload) => Promise<string>;
  /**
   * Whether `signature`, in its one spelling as base64url, was made by this key for `text`. Synchronous, and never throws.
   * (Whoever has one signature of ES256 can make one other of it: a token is told from another by its `jti`.)
   */
  isSignature: (text: string, signature: string) => boolean;
}

const TYPE = "at+jwt";
const headerOf = (alg: Algorithm, kid: string) =>
  Buffer.from(JSON.stringify({ alg, kid, typ: TYPE })).toString("base64url");

const KID_BYTES = 16;
export const newKid = (): string => randomBytes(KID_BYTES).toString("base64url");

/** How the headers of all key pairs begin, and their length: what comes between is the key's name. */
const samples = (["EdDSA", "ES256"] as const).map((alg) => headerOf(alg, newKid()));
const ALIKE_LENGTH = 28;
export const looksLikeHeader = (header: string): boolean =>
  samples.some(
    (sample) =>
      sample.length === header.length &&
      sample.slice(0, ALIKE_LENGTH) === header.slice(0, ALIKE_LENGTH),
  );

/** Names a secret without telling anything of it: 72 bits out of HKDF. */
export const secretName = (secret: string): string =>
  derivedKey(secret, "key names").subarray(0, 9).toString("base64url");

/** HMAC-SHA-256 under a secret of the operator's. */
export function secretKeyOf(secret: string): TokenKey {
  const kid = secretName(secret);
  const key = new TextEncoder().encode(secret);
  const mac = (text: string) =>
    Buffer.from(new Bun.CryptoHasher("sha256", key).update(text).digest("base64url"));
  return {
    kid,
    header: headerOf("HS256", kid),
    sign: jwt({ secret, alg: "HS256", kid, typ: TYPE }).decorator.jwt.sign,
    // Comparing the text of the signature, not its bytes, leaves no second spelling of the same token.
    isSignature: (text, signature) => {
      const [right, given] = [mac(text), Buffer.from(signature)];
      return right.length === given.length && timingSafeEqual(right, given);
    },
  };
}

export interface KeyPair {
  kid: string;
  algorithm: Exclude<Algorithm, "HS256">;
  publicKey: KeyObject;
  /** Missing where it is wrapped under a secret that we do not have: then the key only verifies. */
  privateKey: KeyObject | undefined;
}

const SIGNATURE_BYTES = 64;

/** Ed25519 (RFC 8037), or ECDSA on P-256 with SHA-256 (RFC 7518, section 3.4). */
export function pairKeyOf({ kid, algorithm, publicKey, privateKey }: KeyPair): TokenKey {
  const digest = algorithm === "ES256" ? "sha256" : null;
  const key = { key: publicKey, dsaEncoding: "ieee-p1363" as const };
  const unable = () => Promise.reject(new Error(`keys: ${kid} has no private part here`));
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
