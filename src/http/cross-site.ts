import type { Config } from "../config.ts";

/** Any port of this machine: another program that is being developed there. */
const LOCAL_ORIGIN = /^http:\/\/(localhost|127\.0\.0\.1)(:\d+)?$/;

/**
 * Tells whether a browser says that a page of another site wrote the form of a request. Such a form could sign a victim in to the
 * attacker's account (login CSRF), and needs no preflight. Programs that are no browsers send neither header.
 */
export function openCrossSiteCheck({ publicUrl, corsOrigins, environment }: Config) {
  const own = new URL(publicUrl);
  const allowed = new Set([own.origin, ...corsOrigins]);
  const isAllowed = (origin: string) =>
    allowed.has(origin) || (environment === "development" && LOCAL_ORIGIN.test(origin));
  return (headers: Headers): boolean => {
    const site = headers.get("sec-fetch-site");
    const origin = headers.get("origin");
    if (site === "same-origin" || site === "none") return false;
    if (origin !== null && isAllowed(origin)) return false;
    if (site !== null) return true;
    // Older browsers, and all of them over plain http, send Origin only.
    return origin !== null && origin !== `${own.protocol}//${headers.get("host")}`;
  };
}
