import type { Server } from "bun";
import { contextOf, type Handler } from "./request-context.ts";

/**
 * A request without a Host header (HTTP/1.0, as health checks of load balancers send) has only a
 * path as its URL. Elysia would look for the path within that, so the request gets a full URL. The
 * new request has no socket, so its peer IP is recorded first.
 */
export const withHost =
  (next: Handler, server: () => Pick<Server<unknown>, "requestIP"> | null): Handler =>
  (request) => {
    if (request.headers.has("host")) return next(request);
    const renamed = new Request(`http://localhost${request.url}`, request);
    // Bun knows the peer IP only of its own request object.
    const peer = server()?.requestIP(request)?.address;
    if (peer) contextOf(renamed).peer = peer;
    return next(renamed);
  };

/**
 * `host [":" port]` of RFC 3986, section 3.2. Bun joins repeated Host lines with a comma and a
 * space.
 */
const HOST = /^(?:\[[\da-f:.]+\]|(?:[\w.~!$&'()*+,;=-]|%[\da-f]{2})+)(?::\d{0,5})?$/i;

/**
 * Checks the Host header (RFC 9112, section 3.2). Only HTTP/1.0 requests get this far without one.
 */
export function hasValidHost({ headers }: Request): boolean {
  const host = headers.get("host");
  return host === null || HOST.test(host);
}

/** The path of a request. Does not use `URL`, which throws if the Host header is malformed. */
export const pathOf = ({ url }: Request): string =>
  url.replace(/^https?:\/\/[^/]*/, "").split("?", 1)[0] ?? "";
