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

/** An address without port, brackets and zone; IPv4 as IPv4 also where a socket of IPv6 has met it. */
function plain(text: string): string | undefined {
  const bare = /^\[(.+)\](?::\d+)?$/.exec(text)?.[1] ?? /^([\d.]+):\d+$/.exec(text)?.[1] ?? text;
  const address = bare.replace(/%.*$/, "").replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, "");
  return isIP(address) === 0 ? undefined : address;
}

const GROUPS = 8;
const NETWORK_GROUPS = 4;

/** Who is counted as one: an IPv4 address, or the /64 of an IPv6 address, which is what one customer gets. */
export function subscriberOf(address: string): string {
  if (isIP(address) !== 6) return address;
  const [head = "", tail] = address.toLowerCase().split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail ? tail.split(":") : [];
  const zeros = tail === undefined ? 0 : GROUPS - left.length - right.length;
  const groups = [...left, ...Array<string>(Math.max(0, zeros)).fill("0"), ...right];
  const network = groups
    .slice(0, NETWORK_GROUPS)
    .map((group) => Number.parseInt(group, 16).toString(16));
  return `${network.join(":")}::/64`;
}

/** A network whose addresses one client may well change between: the /24 of an IPv4 address, the /64 of an IPv6 address. */
export const networkOf = (address: string): string =>
  isIPv4(address) ? address.replace(/\d+$/, "0/24") : subscriberOf(address);
