import { BlockList, isIP } from "node:net";
import { groupsOf, ipv4After, MAPPED } from "./network.ts";

/**
 * Ranges of IANA's registry of special-purpose IPv4 that no public server has. Among them are the
 * metadata services of clouds: 169.254.169.254, 100.100.100.200, 192.0.0.192. Azure's is a public
 * IP (168.63.129.16).
 */
const NOT_PUBLIC_IPV4 =
  "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 168.63.129.16/32 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4";

/**
 * Ranges of 2000::/3, from which IANA assigns public IPs, that no public server has: protocols with
 * Teredo, documentation, and 6to4, which contains an IPv4.
 */
const NOT_PUBLIC_IPV6 = "2001::/23 2001:db8::/32 2002::/16 3fff::/20";

const listOf = (networks: string, family: "ipv4" | "ipv6"): BlockList => {
  const list = new BlockList();
  for (const network of networks.split(" ")) {
    const [ip = "", bits] = network.split("/");
    list.addSubnet(ip, Number(bits), family);
  }
  return list;
};
/** The first groups of 64:ff9b::/96 (RFC 6052). */
const TRANSLATED = [0x64, 0xff9b, 0, 0, 0, 0];
let lists: { ipv4: BlockList; ipv6: BlockList } | undefined;

/**
 * True for an IP that a server on the internet may have. An IPv4 within an IPv6 counts as that
 * IPv4: mapped (::ffff:0:0/96), or translated by a network without IPv4 (64:ff9b::/96, NAT64).
 */
export function isPublicIp(ip: string): boolean {
  lists ??= { ipv4: listOf(NOT_PUBLIC_IPV4, "ipv4"), ipv6: listOf(NOT_PUBLIC_IPV6, "ipv6") };
  const version = isIP(ip);
  if (version === 4) return !lists.ipv4.check(ip, "ipv4");
  // An IP with a zone (RFC 4007) is not public.
  if (version !== 6 || ip.includes("%")) return false;
  const groups = groupsOf(ip);
  const inner = ipv4After(MAPPED, groups) ?? ipv4After(TRANSLATED, groups);
  if (inner !== undefined) return isPublicIp(inner);
  const [first = 0] = groups;
  return first >> 13 === 0b001 && !lists.ipv6.check(ip, "ipv6");
}
