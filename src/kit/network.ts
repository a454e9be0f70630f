import { BlockList, isIP, isIPv4 } from "node:net";

/** Reads IPs and networks in CIDR notation (RFC 4632, RFC 4291), separated by commas or blanks. */
export function networks(text: string): string[] {
  const parts = text.split(/[\s,]+/).filter((part) => part !== "");
  if (!parts.every(isNetwork))
    throw new Error("must be IPs and networks such as 10.0.0.0/8, 2001:db8::/32");
  return parts;
}

function isNetwork(part: string): boolean {
  const [ip = "", bits, ...more] = part.split("/");
  const bitsMax = { 0: -1, 4: 32, 6: 128 }[isIP(ip)] ?? -1;
  return (
    more.length === 0 &&
    (bits === undefined ? bitsMax > 0 : /^\d{1,3}$/.test(bits) && Number(bits) <= bitsMax)
  );
}

const listOf = (parts: readonly string[]): BlockList => {
  const list = new BlockList();
  for (const part of parts) {
    const [ip = "", bits] = part.split("/");
    const family = familyOf(ip);
    list.addSubnet(ip, Number(bits ?? (family === "ipv4" ? 32 : 128)), family);
  }
  return list;
};
const familyOf = (ip: string) => (isIPv4(ip) ? "ipv4" : "ipv6");

const PRIVATE =
  "127.0.0.0/8 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 ::1/128 fc00::/7";
let privateList: BlockList | undefined;

/** True for an IP of this machine or of a private network, from which no public client comes. */
export function isPrivate(text: string): boolean {
  const ip = plain(text);
  privateList ??= listOf(PRIVATE.split(" "));
  return ip !== undefined && privateList.check(ip, familyOf(ip));
}

/** A host and a port as in a URL: IPv6 in brackets (RFC 3986, section 3.2.2). */
export const authority = (host: string, port: number): string =>
  `${isIP(host) === 6 ? `[${host}]` : host}:${port}`;

export const isLoopback = (text: string): boolean =>
  /^127\./.test(plain(text) ?? "") || plain(text) === "::1";

const LOCAL_HOST = /^(?:(?:[\w-]+\.)*localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?$/i;

/**
 * True for a Host header that names this machine without DNS. A loopback IP alone is not enough:
 * another site can make its own name resolve to 127.0.0.1 and read responses (DNS rebinding).
 */
export const isLocalHost = (host: string): boolean => LOCAL_HOST.test(host);

/**
 * Finds the client IP behind a chain of proxies. Reads `X-Forwarded-For` from the right, where the
 * nearest proxy appends, up to the first IP that is not a trusted proxy: clients can make up
 * entries further left.
 */
export function openProxyChain(trusted: readonly string[]) {
  const list = listOf(trusted);
  const isKnown = (ip: string) => list.check(ip, familyOf(ip));
  const isTrusted = (socketIp: string) => isKnown(plain(socketIp) ?? socketIp);

  const clientOf = (socketIp: string, forwardedFor: string | null): string => {
    let client = plain(socketIp) ?? socketIp;
    if (trusted.length === 0 || !forwardedFor || !isKnown(client)) return client;
    for (const hop of forwardedFor.split(",").reverse()) {
      const ip = plain(hop.trim());
      if (ip === undefined) break;
      client = ip;
      if (!isKnown(client)) break;
    }
    return client;
  };
  return { clientOf, isTrusted };
}

/** An IP without port, brackets and zone. An IPv4-mapped IPv6 becomes IPv4. */
function plain(text: string): string | undefined {
  const bare = /^\[(.+)\](?::\d+)?$/.exec(text)?.[1] ?? /^([\d.]+):\d+$/.exec(text)?.[1] ?? text;
  const ip = bare.replace(/%.*$/, "");
  const version = isIP(ip);
  if (version !== 6) return version === 4 ? ip : undefined;
  return ipv4After(MAPPED, groupsOf(ip)) ?? ip;
}

/** The first groups of an IPv4-mapped IPv6 (RFC 4291, section 2.5.5.2). */
export const MAPPED = [0, 0, 0, 0, 0, 0xffff];

/** The IPv4 at the end of an IPv6 that begins with these six groups. */
export function ipv4After(prefix: number[], groups: number[]): string | undefined {
  const [high = 0, low = 0] = groups.slice(6);
  const hasPrefix = prefix.every((group, at) => group === groups[at]);
  return hasPrefix ? [high >> 8, high & 255, low >> 8, low & 255].join(".") : undefined;
}

const GROUPS = 8;
const NETWORK_GROUPS = 4;

/** One customer gets at least a /64 of IPv6, so rate limits count that as one client. */
export function clientKeyOf(ip: string): string {
  if (isIP(ip) !== 6) return ip;
  const network = groupsOf(ip).slice(0, NETWORK_GROUPS);
  return `${network.map((group) => group.toString(16)).join(":")}::/64`;
}

/** The eight groups of an IPv6. The last two may be written as IPv4. */
export function groupsOf(ip: string): number[] {
  const hexadecimal = ip.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, ...bytes) => {
    const [a = 0, b = 0, c = 0, d = 0] = bytes.slice(0, 4).map(Number);
    return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  });
  const [left = [], right = []] = hexadecimal
    .split("::")
    .map((half) => half.split(":").filter((group) => group !== ""));
  const zeros = Array<string>(GROUPS - left.length - right.length).fill("0");
  return [...left, ...zeros, ...right].map((group) => Number.parseInt(group, 16));
}

/** The network within which the IP of one client often changes: /24 of IPv4, /64 of IPv6. */
export const networkOf = (ip: string): string =>
  isIPv4(ip) ? ip.replace(/\d+$/, "0/24") : clientKeyOf(ip);
