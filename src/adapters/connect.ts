import { isIP } from "node:net";
import { withTimeout } from "../kit/with-timeout.ts";
import { resolveName } from "./resolve-name.ts";

/**
 * Tries the IPs of a host in turn, IPv4 first, until one of them can be used. `maxMs` is for all of
 * it. Each IP has an equal share of what is left, so that a silent one leaves time for the others;
 * `connect` must keep to its share. Throws the error of the first IP: the later ones, such as ::1
 * of localhost, often only refuse.
 */
export async function connectToHost<T>(
  host: string,
  maxMs: number,
  connect: (ip: string, maxMs: number) => Promise<T>,
): Promise<T> {
  const until = performance.now() + maxMs;
  const ips = isIP(host) === 0 ? await withTimeout(maxMs, resolveName(host)) : [host];
  let failure: unknown;
  for (const [at, ip] of ips.toSorted((a, b) => isIP(a) - isIP(b)).entries())
    try {
      return await connect(ip, (until - performance.now()) / (ips.length - at));
    } catch (error) {
      failure ??= error;
    }
  throw failure ?? Object.assign(new Error("The host has no IP."), { code: "ENODATA" });
}
