import type { Config } from "../config/config.ts";

type OriginSettings = Pick<Config, "publicUrl" | "corsOrigins" | "environment">;

/** Any port of this machine: a developer runs the product there. */
const LOCAL_ORIGIN = /^http:\/\/(localhost|127\.0\.0\.1)(:\d+)?$/;

/** Tells whether pages of another origin may use this service in a browser. */
export function openAllowedOrigins({ corsOrigins, environment }: OriginSettings) {
  const allowed = new Set(corsOrigins);
  return (origin: string): boolean =>
    allowed.has(origin) || (environment === "development" && LOCAL_ORIGIN.test(origin));
}

/**
 * Tells whether a browser says that a page of another site wrote the form of a request. Such a form could sign a victim in to the
 * attacker's account (login CSRF), and needs no preflight. Programs that are no browsers send neither header.
 */
export function openCrossSiteCheck(settings: OriginSettings) {
  const own = new URL(settings.publicUrl);
  const isAllowed = openAllowedOrigins(settings);
  return (headers: Headers): boolean => {
    const site = headers.get("sec-fetch-site");
    const origin = headers.get("origin");
    if (site === "same-origin" || site === "none") return false;
    if (origin !== null && (origin === own.origin || isAllowed(origin))) return false;
    if (site !== null) return true;
    // Older browsers, and all of them over plain http, send Origin only.
    return origin !== null && origin !== `${own.protocol}//${headers.get("host")}`;
  };
}
