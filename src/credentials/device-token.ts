import { createHmac } from "node:crypto";
import { isId } from "../kit/id.ts";
import { isSecret } from "./secret.ts";

/** A known device: a client that has signed in to a user before. */
export interface Device {
  id: string;
  userId: string;
  /** When it got its token, read from its id, a UUIDv7 (RFC 9562, section 5.7). */
  knownSince: Date;
}

export interface DeviceTokens {
  sign: (userId: string, knownSince: Date) => string;
  /** Returns the device of a token that we signed. Undefined for any other text. Never throws. */
  read: (token: string) => Device | undefined;
}

const PREFIX = "dt_";
const TOKEN_MAX_LENGTH = 256;
const SHAPE = /(?<![\w.-])dt_[\da-f-]{36}\.[\da-f-]{36}\.[\w-]{43}(?![\w.-])/gi;

/** Finds all substrings that have the form of a device token, signed by us or not. */
export const findDeviceTokens = (text: string): string[] => text.match(SHAPE) ?? [];

/**
 * `dt_<user id>.<device id>.<HMAC-SHA-256>`. A device token grants no access. It gives a client
 * that has signed in before a rate limit of its own, apart from clients that guess the user's
 * password (OWASP's "device cookies"). The first key signs, all keys verify.
 */
export function deviceTokens(keys: readonly [Buffer, ...Buffer[]]): DeviceTokens {
  const mac = (text: string, key: Buffer) =>
    createHmac("sha256", key).update(text).digest("base64url");
  return {
    sign: (userId, knownSince) => {
      const text = `${PREFIX}${userId}.${Bun.randomUUIDv7("hex", knownSince)}`;
      return `${text}.${mac(text, keys[0])}`;
    },
    read: (token) => {
      if (token.length > TOKEN_MAX_LENGTH || !token.startsWith(PREFIX)) return undefined;
      const [userId = "", id = "", signature = "", ...more] = token.slice(PREFIX.length).split(".");
      if (!isId(userId) || !isId(id) || more.length > 0) return undefined;
      const isOurs = keys.some((key) => isSecret(signature, mac(`${PREFIX}${userId}.${id}`, key)));
      return isOurs ? { id, userId, knownSince: timeOf(id) } : undefined;
    },
  };
}

const timeOf = (id: string) => new Date(Number.parseInt(id.replaceAll("-", "").slice(0, 12), 16));
