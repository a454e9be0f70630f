import type { Ctx } from "../ctx.ts";
import { openAllowedOrigins, openCrossSiteCheck } from "./cross-site.ts";
import { requestHeaders, responseHeaders } from "./headers.ts";
import { pathOf } from "./host.ts";
import { contextOf, type Handler, mapResponse } from "./request-context.ts";

const METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE";
const REQUEST_HEADERS = `${Object.keys(requestHeaders).join(", ")}, authorization, content-type, traceparent, tracestate, x-request-id`;
/** Browsers never show Set-Cookie to a page. */
const RESPONSE_HEADERS = Object.values(responseHeaders)
  .map(({ name }) => name)
  .filter((name) => name !== "Set-Cookie")
  .join(", ");
/** Two hours: Chromium caches a preflight response no longer. */
const PREFLIGHT_SECONDS = 7_200;

/** Paths that read the device cookie. On all others, CORS allows no requests with cookies. */
const TAKES_COOKIES = /^\/(api\/v1|oauth)\//;

/** Limits the log: an attacker can make up any number of origins. */
const WARNED_MAX = 20;

/**
 * Answers cross-origin requests of browsers (Fetch standard, section 3.2). Wraps the whole app: a
 * page could not read a refusal without the headers.
 */
export function withCors(ctx: Ctx, next: Handler): Handler {
  const isAllowed = openAllowedOrigins(ctx.config);
  const warn = openWarning(ctx);
  const isOff = ctx.config.corsOrigins.length === 0 && ctx.config.environment === "production";
  return (request) => {
    const origin = request.headers.get("origin");
    const isPreflight =
      request.method === "OPTIONS" && request.headers.has("access-control-request-method");
    if (origin !== null && !isAllowed(origin)) warn(request, origin);
    // No response depends on the origin then. The app refuses a preflight.
    if (isOff) return next(request);
    const allowed = origin !== null && isAllowed(origin) ? originHeaders(request, origin) : {};
    if (isPreflight) return preflightResponse(request, allowed);
    return mapResponse(next(request), (response) => withHeaders(response, allowed));
  };
}

const originHeaders = (request: Request, origin: string): Record<string, string> => ({
  "access-control-allow-origin": origin,
  "access-control-expose-headers": RESPONSE_HEADERS,
  ...(TAKES_COOKIES.test(pathOf(request)) ? { "access-control-allow-credentials": "true" } : {}),
});

const preflightResponse = (request: Request, allowed: Record<string, string>): Response =>
  new Response(null, {
    status: 204,
    headers: {
      "x-request-id": contextOf(request).id,
      "cache-control": "no-store",
      vary: "Origin",
      ...(allowed["access-control-allow-origin"] && {
        ...allowed,
        "access-control-allow-methods": METHODS,
        "access-control-allow-headers": REQUEST_HEADERS,
        "access-control-max-age": String(PREFLIGHT_SECONDS),
      }),
    },
  });

function withHeaders(response: Response, headers: Record<string, string>): Response {
  response.headers.append("vary", "Origin");
  for (const [name, value] of Object.entries(headers)) response.headers.set(name, value);
  return response;
}

/** Scheme, host and port. Any client can send something else, which must not get into the log. */
const ORIGIN = /^[a-z][a-z\d+.-]{0,31}:\/\/[\w.[\]:-]{1,255}$/i;

/** Logs once per origin that CORS_ORIGINS does not allow it. */
function openWarning({ config, log }: Ctx) {
  const isCrossSite = openCrossSiteCheck(config);
  const warned = new Set<string>();
  return ({ headers }: Request, origin: string): void => {
    // No page reads the response to a form, so CORS does not apply.
    if (headers.get("sec-fetch-mode") === "navigate" || !isCrossSite(headers)) return;
    if (!ORIGIN.test(origin)) return;
    if (warned.size >= WARNED_MAX || warned.has(origin)) return;
    warned.add(origin);
    log.warn(
      { origin },
      "A browser cannot read the response: the origin of its page is not in CORS_ORIGINS.",
    );
  };
}
