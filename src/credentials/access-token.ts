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
  /** The session that it was given out in: when that ends, so does the token. */
  sid: string;
}

/** The claims of a client's own token: it is its own subject, and has no session. */
export type ClientClaims = Omit<AccessClaims, "auth_time" | "sid">;

/** Who a token is for: an account, in a session that began at `authenticatedAt`. */
export interface TokenSubject {
  userId: string;
  sessionId: string;
  authenticatedAt: Date;
  /** Less than usual where its session ends earlier. */
  lifetimeSeconds?: number;
}

export interface TokenOptions {
  keys: Pick<KeyRing, "find" | "signing">;
  issuer: string;
  audience: string;
  lifetimeSeconds: number;
  /** How many tokens that were found good are remembered at most; 0 remembers none. */
  remembered: number;
}

export interface AccessTokens {
  issuer: string;
  lifetimeSeconds: number;
  /** For a confidential client itself (RFC 6749, section 4.4). */
  signForClient: (clientId: string, now: Date) => Promise<string>;
  verifyClient: (token: string, now: Date) => ClientClaims | undefined;
  sign: (subject: TokenSubject, now: Date) => Promise<string>;
  /** The claims of a token that we signed and that is good at `now`; undefined for everything else. Never throws. */
  verify: (token: string, now: Date) => AccessClaims | undefined;
  /** The session, or the OAuth client, of a token that we signed, expired or not. Undefined for every other text. */
  signedFor: (token: string, now: Date) => string | undefined;
}

const TOKEN_MAX_LENGTH = 4096;
const CLOCK_SKEW_SECONDS = 60;
const CLIENT = "bunker";

/**
 * Access tokens as JWTs. They are signed by @elysiajs/jwt. They are verified here and synchronously, because its
 * verification waits for the threads that hash passwords. The claims of a token that was found good are remembered by its
 * SHA-256, so that no table holds what could be presented; whether its key is accepted, and its times, are checked each time.
 */
export function accessTokens(options: TokenOptions): AccessTokens {
  const { keys, issuer, audience, lifetimeSeconds } = options;
  const read = openReader(options);
  const readSigned = (token: string, now: Date): Claims | undefined => {
    if (token.length > TOKEN_MAX_LENGTH) return undefined;
    // Our own headers, letter for letter: no other algorithm, type or key is ever considered (RFC 8725, section 3.1).
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
    signedFor: (token, now) => {
      const claims = readSigned(token, now);
      return claims && (claims.sid ?? claims.sub);
    },
  };
}

/** Answers the claims of a token that we signed, whatever the time. */
function openReader({ issuer, audience, remembered }: TokenOptions) {
  // It keeps up to twice what it is asked to.
  const good = new QuickLRU<string, Claims>({
    maxSize: Math.ceil(remembered / 2) || 1,
  });

  const isOurs = (claims: Partial<AccessClaims>): claims is Claims =>
    claims.iss === issuer &&
    claims.aud === audience &&
    isText(claims.sub) &&
    isId(claims.sub) &&
    isText(claims.jti) &&
    isText(claims.client_id) &&
    isTime(claims.iat) &&
    isTime(claims.exp) &&
    // We say `iat` instead: a token that is good only later is none of ours.
    !("nbf" in claims) &&
    (isOfUser(claims as Claims) || isOfClient(claims as Claims));

  const read = (token: string, key: TokenKey): Claims | undefined => {
    const [header, payload, signature, ...more] = token.split(".");
    if (!payload || !signature || more.length > 0) return undefined;
    if (!key.isSignature(`${header}.${payload}`, signature)) return undefined;
    const claims = parse(payload);
    return claims && isOurs(claims) ? claims : undefined;
  };
  const recall = (token: string, key: TokenKey): Claims | undefined => {
    const digest = Bun.SHA256.hash(token, "base64");
    const known = good.get(digest);
    if (known) return known;
    const claims = read(token, key);
    if (claims) good.set(digest, claims);
    return claims;
  };
  return remembered > 0 ? recall : read;
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
