import { timingSafeEqual } from "node:crypto";
import { jwt } from "@elysiajs/jwt";
import { isId } from "./id.ts";

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

/** Who a token is for: an account, in a session that began at `authenticatedAt`. */
export interface TokenSubject {
  userId: string;
  sessionId: string;
  authenticatedAt: Date;
}

export interface TokenOptions {
  secret: string;
  issuer: string;
  audience: string;
  lifetimeSeconds: number;
}

export interface AccessTokens {
  lifetimeSeconds: number;
  sign: (subject: TokenSubject, now: Date) => Promise<string>;
  /** The claims of a token that we signed and that is good at `now`; undefined for everything else. Never throws. */
  verify: (token: string, now: Date) => AccessClaims | undefined;
}

const TOKEN_MAX_LENGTH = 4096;
const CLOCK_SKEW_SECONDS = 60;
const CLIENT = "bunker";
const HEADER = Buffer.from(JSON.stringify({ alg: "HS256", typ: "at+jwt" })).toString("base64url");

/**
 * Access tokens as JWTs signed with HMAC-SHA-256. They are signed by @elysiajs/jwt. They are verified here and
 * synchronously, because its verification waits for the threads that hash passwords.
 */
export function accessTokens(options: TokenOptions): AccessTokens {
  const { issuer, audience, lifetimeSeconds } = options;
  const signer = jwt({ secret: options.secret, alg: "HS256", typ: "at+jwt" }).decorator.jwt;
  const key = new TextEncoder().encode(options.secret);
  const mac = (text: string) =>
    new Bun.CryptoHasher("sha256", key).update(text).digest("base64url");

  const isGood = (claims: Partial<AccessClaims>, nowSeconds: number) =>
    claims.iss === issuer &&
    claims.aud === audience &&
    isText(claims.sub) &&
    isId(claims.sub) &&
    isText(claims.jti) &&
    isText(claims.client_id) &&
    isText(claims.sid) &&
    isId(claims.sid) &&
    isTime(claims.auth_time) &&
    isTime(claims.iat) &&
    claims.iat <= nowSeconds + CLOCK_SKEW_SECONDS &&
    isTime(claims.exp) &&
    claims.exp > nowSeconds;

  return {
    lifetimeSeconds,
    sign: ({ userId, sessionId, authenticatedAt }, now) => {
      const seconds = Math.floor(now.getTime() / 1000);
      return signer.sign({
        iss: issuer,
        aud: audience,
        sub: userId,
        client_id: CLIENT,
        jti: Bun.randomUUIDv7(),
        auth_time: Math.floor(authenticatedAt.getTime() / 1000),
        sid: sessionId,
        exp: seconds + lifetimeSeconds,
      });
    },
    verify: (token, now) => {
      if (token.length > TOKEN_MAX_LENGTH) return undefined;
      const [header, payload, signature, ...more] = token.split(".");
      // Our own header, letter for letter: no other algorithm, type or key is ever considered (RFC 8725, section 3.1).
      if (header !== HEADER || !payload || !signature || more.length > 0) return undefined;
      // Comparing the text of the signature, not its bytes, leaves no second spelling of the same token.
      if (!isSame(mac(`${header}.${payload}`), signature)) return undefined;
      const claims = parse(payload);
      return claims && isGood(claims, now.getTime() / 1000) ? (claims as AccessClaims) : undefined;
    },
  };
}

const isText = (value: unknown): value is string => typeof value === "string" && value !== "";
const isTime = (value: unknown): value is number => typeof value === "number" && value >= 0;

function isSame(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}

function parse(payload: string): Partial<AccessClaims> | undefined {
  try {
    const claims = JSON.parse(Buffer.from(payload, "base64url").toString());
    return typeof claims === "object" && claims !== null ? claims : undefined;
  } catch {
    return undefined;
  }
}
