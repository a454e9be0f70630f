import { Resolver, setServers } from "node:dns";

/**
 * The IPs of a host name. Not by Node's module, which waits in the threads that also hash
 * passwords: two names whose server does not answer would stop all sign-ins for 10 seconds. On
 * Linux, this one uses no thread.
 */
export async function resolveName(hostname: string): Promise<string[]> {
  try {
    return (await Bun.dns.lookup(hostname)).map(({ address }) => address);
  } catch (error) {
    const { code } = error as { code?: unknown };
    // Bun reads resolv.conf once, which the network may write after the start, or change.
    if (/ECONNREFUSED|ETIMEOUT/.test(String(code))) setServers(new Resolver().getServers());
    throw error;
  }
}
