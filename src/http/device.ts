import { findDeviceTokens } from "../credentials/device-token.ts";
import type { Ctx } from "../ctx.ts";
import type { RequestParts } from "./request-context.ts";

export const DEVICE_HEADER = "device-token";
/** Browsers accept it only from the host itself, over https (RFC 6265bis, section 4.1.3.2). */
const HOST_COOKIE = "__Host-bunker_device";
/** Over http. Also read over https, until the device signs in again. */
const PLAIN_COOKIE = "bunker_device";
const COOKIE_SECONDS = 400 * 86_400;
const USERS_MAX = 8;
/** Allowed in a cookie value, and never part of a token. */
const SEPARATOR = "~";
/** More than fit into the headers of one request. */
const TOKENS_MAX = 128;

/**
 * Every device token of a request, not verified yet. Another host of the same site can add plain
 * cookies. They come last, so that they displace no other token.
 */
export function deviceTokensIn(headers: RequestParts["headers"]): string[] {
  const tokens = [
    ...cookieTokens(headers, HOST_COOKIE),
    ...findDeviceTokens(headers[DEVICE_HEADER] ?? ""),
    ...cookieTokens(headers, PLAIN_COOKIE),
  ];
  return [...new Set(tokens)].slice(0, TOKENS_MAX);
}

/** Makes the client a known device of the user of `token`, and of up to USERS_MAX users in all. */
export function rememberDevice(
  { config, devices }: Ctx,
  { headers, set }: Pick<RequestParts, "headers" | "set">,
  token: string,
): void {
  const before = [HOST_COOKIE, PLAIN_COOKIE].flatMap((name) => cookieTokens(headers, name));
  const byUser = new Map<string, string>();
  for (const each of [token, ...before.slice(0, TOKENS_MAX)]) {
    const device = devices.read(each);
    if (device && !byUser.has(device.userId)) byUser.set(device.userId, each);
  }
  const value = [...byUser.values()].slice(0, USERS_MAX).join(SEPARATOR);
  const isSecure = config.publicUrl.startsWith("https:");
  const name = isSecure ? HOST_COOKIE : PLAIN_COOKIE;
  set.headers[DEVICE_HEADER] = token;
  set.headers["set-cookie"] =
    `${name}=${value}; Path=/; Max-Age=${COOKIE_SECONDS}; HttpOnly; SameSite=Lax${isSecure ? "; Secure" : ""}`;
}

const cookieTokens = (headers: RequestParts["headers"], name: string): string[] =>
  (headers["cookie"] ?? "")
    .split(";")
    .filter((pair) => pair.trimStart().startsWith(`${name}=`))
    .flatMap(findDeviceTokens);
