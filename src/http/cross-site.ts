import type { Config } from "../config/config.ts";

type OriginSettings = Pick<Config, "publicUrl" | "corsOrigins" | "environment">;

/** Any port of this machine, where a developer runs the product. */
const LOCAL_ORIGIN = /^http:\/\/(localhost|127\.0\.0\.1)(:\d+)?$/;

/** Returns a function that checks whether pages of an origin may use this server in a browser. */
export function openAllowedOrigins({ corsOrigins, environment }: OriginSettings) {
  const allowed = new Set(corsOrigins);
  return (origin: string): boolean =>
    allowed.has(origin) || (environment === "development" && LOCAL_ORIGIN.test(origin));
}

/**
 * Returns a function that checks whether pages of an origin may open a WebSocket: CORS does not
 * apply to them. Programs other than browsers send no origin.
 */
export function openWebSocketOriginCheck(settings: OriginSettings) {
  const own = new URL(settings.publicUrl).origin;
  const isAllowed = openAllowedOrigins(settings);
  return (origin: string | null): boolean => origin === null || origin === own || isAllowed(origin);
}

/**
 * Whether the form of a request came from another site, as the browser reports it. It could sign a
 * victim in to the attacker's account (login CSRF). Other programs send neither header.
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
    // Older browsers, and all browsers over plain http, send only Origin.
    return origin !== null && origin !== `${own.protocol}//${headers.get("host")}`;
  };
}
