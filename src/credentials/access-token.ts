import QuickLRU from "quick-lru";
import { isId } from "../kit/id.ts";
import type { KeyRing } from "./key-ring.ts";
import type { TokenKey } from "./token-key.ts";

/** The claims of an access token (RFC 9068, section 2.2); times in seconds since 1970. */
export interface AccessClaims {
  iss: string;
  aud: string;
  sub: string;
  client_id: string;
  jti: string;
  iat: number;
  exp: number;
  auth_time: number;
  /** The session that the token belongs to. The token is no longer valid when the session ends. */
  sid: string;
}

export type ClientClaims = Omit<AccessClaims, "auth_time" | "sid">;

/** The user and session that a token is for. The user signed in at `authenticatedAt`. */
export interface TokenSubject {
  userId: string;
  sessionId: string;
  authenticatedAt: Date;
  /** Set if the session ends before the usual lifetime. */
  lifetimeSeconds?: number;
}

export interface TokenOptions {
  keys: Pick<KeyRing, "find" | "signing">;
  issuer: string;
  audience: string;
  lifetimeSeconds: number;
  /** The maximum number of verified tokens in the cache. 0 turns the cache off. */
  remembered: number;
}

export interface AccessTokens {
  issuer: string;
  lifetimeSeconds: number;
  /** Signs a token for a confidential OAuth client itself (RFC 6749, section 4.4). */
  signForClient: (clientId: string, now: Date) => Promise<string>;
  verifyClient: (token: string, now: Date) => ClientClaims | undefined;
  sign: (subject: TokenSubject, now: Date) => Promise<string>;
  /** Returns the claims of a token that we signed and that is valid at `now`. Never throws. */
  verify: (token: string, now: Date) => AccessClaims | undefined;
  /** The session or OAuth client of a token that we signed, expired or not. */
  findSubjectId: (token: string, now: Date) => string | undefined;
}

const TOKEN_MAX_LENGTH = 4096;
const CLOCK_SKEW_SECONDS = 60;
const CLIENT = "bunker";

/**
 * @elysiajs/jwt signs access tokens. This file verifies them, synchronously: the verification of
 * @elysiajs/jwt waits for the threads that hash passwords. The cache has claims by SHA-256, so that
 * no memory holds usable tokens. Each use still checks the times and the key.
 */
export function accessTokens(options: TokenOptions): AccessTokens {
  const { keys, issuer, audience, lifetimeSeconds } = options;
  const read = openReader(options);
  const readSigned = (token: string, now: Date): Claims | undefined => {
    if (token.length > TOKEN_MAX_LENGTH) return undefined;
    // Only our own headers match, byte for byte: no other algorithm or key (RFC 8725, 3.1).
    const key = keys.find(token.slice(0, token.indexOf(".")), now);
    return key && read(token, key);
  };
  const verify = (token: string, now: Date): Claims | undefined => {
    const claims = readSigned(token, now);
    return claims && isTimely(claims, now.getTime() / 1000) ? claims : undefined;
  };
  const common = (now: Date, seconds = lifetimeSeconds) => ({
    iss: issuer,
    aud: audience,
    jti: Bun.randomUUIDv7(),
    exp: Math.floor(now.getTime() / 1000) + seconds,
  });

  return {
    issuer,
    lifetimeSeconds,
    sign: ({ userId, sessionId, authenticatedAt, lifetimeSeconds: seconds }, now) =>
      keys.signing().sign({
        ...common(now, seconds),
        sub: userId,
        client_id: CLIENT,
        auth_time: Math.floor(authenticatedAt.getTime() / 1000),
        sid: sessionId,
      }),
    verify: (token, now) => {
      const claims = verify(token, now);
      return claims && isOfUser(claims) ? claims : undefined;
    },
    signForClient: (clientId, now) =>
      keys.signing().sign({ ...common(now), sub: clientId, client_id: clientId }),
    verifyClient: (token, now) => {
      const claims = verify(token, now);
      return claims && isOfClient(claims) ? claims : undefined;
    },
    findSubjectId: (token, now) => {
      const claims = readSigned(token, now);
      return claims && (claims.sid ?? claims.sub);
    },
  };
}

/** Returns the claims of a token that we signed. Does not check its times. */
function openReader({ issuer, audience, remembered }: TokenOptions) {
  // QuickLRU keeps up to twice its maxSize.
  const verified = new QuickLRU<string, Claims>({ maxSize: Math.ceil(remembered / 2) || 1 });

  const isOurs = (claims: Partial<AccessClaims>): claims is Claims =>
    claims.iss === issuer &&
    claims.aud === audience &&
    isText(claims.sub) &&
    isId(claims.sub) &&
    isText(claims.jti) &&
    isText(claims.client_id) &&
    isTime(claims.iat) &&
    isTime(claims.exp) &&
    // Our tokens have no `nbf`: they are valid from `iat` on.
    !("nbf" in claims) &&
    (isOfUser(claims as Claims) || isOfClient(claims as Claims));

  const read = (token: string, key: TokenKey): Claims | undefined => {
    const [header, payload, signature, ...more] = token.split(".");
    if (!payload || !signature || more.length > 0) return undefined;
    if (!key.isSignature(`${header}.${payload}`, signature)) return undefined;
    const claims = parse(payload);
    return claims && isOurs(claims) ? claims : undefined;
  };
  const readCached = (token: string, key: TokenKey): Claims | undefined => {
    const digest = Bun.SHA256.hash(token, "base64");
    const known = verified.get(digest);
    if (known) return known;
    const claims = read(token, key);
    if (claims) verified.set(digest, claims);
    return claims;
  };
  return remembered > 0 ? readCached : read;
}

type Claims = ClientClaims & Partial<AccessClaims>;
const isOfUser = (claims: Claims): claims is AccessClaims =>
  isText(claims.sid) && isId(claims.sid) && isTime(claims.auth_time);
const isOfClient = ({ sub, client_id: client, sid, auth_time: at }: Claims): boolean =>
  sub === client && sid === undefined && at === undefined;

const isText = (value: unknown): value is string => typeof value === "string" && value !== "";
const isTimely = ({ iat, exp }: ClientClaims, nowSeconds: number) =>
  iat <= nowSeconds + CLOCK_SKEW_SECONDS && exp > nowSeconds;
const isTime = (value: unknown): value is number =>
  Number.isSafeInteger(value) && Number(value) >= 0;

function parse(payload: string): Partial<AccessClaims> | undefined {
  try {
    const claims = JSON.parse(Buffer.from(payload, "base64url").toString());
    return typeof claims === "object" && claims !== null ? claims : undefined;
  } catch {
    return undefined;
  }
}
