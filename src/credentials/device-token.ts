import { createHmac, timingSafeEqual } from "node:crypto";
import { isId } from "../kit/id.ts";

/** A client that has signed in to an account: which of its devices, and whose account. */
export interface Device {
  id: string;
  userId: string;
  /** When it got its token: its id is a UUIDv7 (RFC 9562, section 5.7). */
  knownSince: Date;
}

export interface DeviceTokens {
  sign: (userId: string, knownSince: Date) => string;
  /** The device that a token of ours is for; undefined for everything else. Never throws. */
  read: (token: string) => Device | undefined;
}

const PREFIX = "dt_";
const TOKEN_MAX_LENGTH = 256;
const SHAPE = /(?<![\w.-])dt_[\da-f-]{36}\.[\da-f-]{36}\.[\w-]{43}(?![\w.-])/gi;

/** Everything in a text that has the shape of a device token. */
export const findDeviceTokens = (text: string): string[] => text.match(SHAPE) ?? [];

/**
 * Device tokens: `dt_<user id>.<device id>.<HMAC-SHA-256>`. One says that its holder has signed in to an account before,
 * and opens nothing: with it a client is limited by itself, not together with whoever guesses at that account (OWASP's
 * "device cookies"). The first key signs, all of them verify.
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
      const given = Buffer.from(signature);
      const isOurs = keys.some((key) => {
        const right = Buffer.from(mac(`${PREFIX}${userId}.${id}`, key));
        return given.length === right.length && timingSafeEqual(given, right);
      });
      return isOurs ? { id, userId, knownSince: timeOf(id) } : undefined;
    },
  };
}

const timeOf = (id: string) => new Date(Number.parseInt(id.replaceAll("-", "").slice(0, 12), 16));
