import { BlockList, isIP, isIPv4 } from "node:net";

/** Addresses and networks in CIDR notation (RFC 4632, RFC 4291), with commas or blanks between. */
export function networks(text: string): string[] {
  const parts = text.split(/[\s,]+/).filter((part) => part !== "");
  if (!parts.every(isNetwork))
    throw new Error("must be addresses and networks such as 10.0.0.0/8, 2001:db8::/32");
  return parts;
}

function isNetwork(part: string): boolean {
  const [address = "", bits, ...more] = part.split("/");
  const bitsMax = { 0: -1, 4: 32, 6: 128 }[isIP(address)] ?? -1;
  return (
    more.length === 0 &&
    (bits === undefined ? bitsMax > 0 : /^\d{1,3}$/.test(bits) && Number(bits) <= bitsMax)
  );
}

const listOf = (parts: readonly string[]): BlockList => {
  const list = new BlockList();
  for (const part of parts) {
    const [address = "", bits] = part.split("/");
    const family = familyOf(address);
    list.addSubnet(address, Number(bits ?? (family === "ipv4" ? 32 : 128)), family);
  }
  return list;
};
const familyOf = (address: string) => (isIPv4(address) ? "ipv4" : "ipv6");

const PRIVATE =
  "127.0.0.0/8 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 ::1/128 fc00::/7";
let privateList: BlockList | undefined;

/** True for an address that no stranger comes from: of this machine, or of a private network. */
export function isPrivate(text: string): boolean {
  const address = plain(text);
  privateList ??= listOf(PRIVATE.split(" "));
  return address !== undefined && privateList.check(address, familyOf(address));
}

/** A host and a port as a URL has them: an IPv6 address in brackets (RFC 3986, 3.2.2). */
export const authority = (host: string, port: number): string =>
  `${isIP(host) === 6 ? `[${host}]` : host}:${port}`;

/** True for an address of this machine itself. */
export const isLoopback = (text: string): boolean =>
  /^127\./.test(plain(text) ?? "") || plain(text) === "::1";

const LOCAL_HOST = /^(?:(?:[\w-]+\.)*localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?$/i;

/**
 * True for a Host header that names this machine, whatever DNS answers. Only the client's own machine is trusted by its address:
 * a page of another site can make its own name resolve to 127.0.0.1, and read what is there (DNS rebinding).
 */
export const isLocalHost = (host: string): boolean => LOCAL_HOST.test(host);

/**
 * Finds who is at the far end of a chain of proxies: walks `X-Forwarded-For` from the right, where the nearest proxy has
 * written, for as long as it meets proxies that are trusted. What a client wrote there itself stands further left. A header
 * that one proxy sets to one address is the shortest such chain.
 */
export function openProxyChain(trusted: readonly string[]) {
  const list = listOf(trusted);
  const isKnown = (address: string) => list.check(address, familyOf(address));
  const isTrusted = (socketAddress: string) => isKnown(plain(socketAddress) ?? socketAddress);

  const clientOf = (socketAddress: string, forwardedFor: string | null): string => {
    let client = plain(socketAddress) ?? socketAddress;
    if (trusted.length === 0 || !forwardedFor || !isKnown(client)) return client;
    for (const hop of forwardedFor.split(",").reverse()) {
      const address = plain(hop.trim());
      if (address === undefined) break;
      client = address;
      if (!isKnown(client)) break;
    }
    return client;
  };
  return { clientOf, isTrusted };
}

/**
 * An IP without port, brackets and zone. An IPv4-mapped IPv6 address, in any spelling, becomes
 * IPv4.
 */
function plain(text: string): string | undefined {
  const bare = /^\[(.+)\](?::\d+)?$/.exec(text)?.[1] ?? /^([\d.]+):\d+$/.exec(text)?.[1] ?? text;
  const address = bare.replace(/%.*$/, "");
  const version = isIP(address);
  if (version !== 6) return version === 4 ? address : undefined;
  return ipv4In(groupsOf(address)) ?? address;
}

/** The IPv4 address of an IPv4-mapped one (RFC 4291, section 2.5.5.2). */
function ipv4In(groups: number[]): string | undefined {
  const [high = 0, low = 0] = groups.slice(6);
  const isMapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
  return isMapped ? [high >> 8, high & 255, low >> 8, low & 255].join(".") : undefined;
}

const GROUPS = 8;
const NETWORK_GROUPS = 4;

/** Who is counted as one: an IPv4 address, or the /64 of an IPv6 address, which is what one customer gets. */
export function clientKeyOf(address: string): string {
  if (isIP(address) !== 6) return address;
  const network = groupsOf(address).slice(0, NETWORK_GROUPS);
  return `${network.map((group) => group.toString(16)).join(":")}::/64`;
}

/** The eight groups of an IPv6 address, whose last two may be written as IPv4. */
function groupsOf(address: string): number[] {
  const hexadecimal = address.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, ...bytes) => {
    const [a = 0, b = 0, c = 0, d = 0] = bytes.slice(0, 4).map(Number);
    return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  });
  const [left = [], right = []] = hexadecimal
    .split("::")
    .map((half) => half.split(":").filter((group) => group !== ""));
  const zeros = Array<string>(GROUPS - left.length - right.length).fill("0");
  return [...left, ...zeros, ...right].map((group) => Number.parseInt(group, 16));
}

/** A network whose addresses one client may well change between: the /24 of an IPv4 address, the /64 of an IPv6 address. */
export const networkOf = (address: string): string =>
  isIPv4(address) ? address.replace(/\d+$/, "0/24") : clientKeyOf(address);
