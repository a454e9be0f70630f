import type { Server } from "bun";
import { contextOf, type Handler } from "./request-context.ts";

/**
 * A request without a Host header (HTTP/1.0, as load balancers send) has only a path as its URL.
 * Elysia needs a full one. The new request has no socket, so its peer IP is recorded first.
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

/** RFC 3986, section 3.2. Bun joins repeated Host lines with a comma and a space. */
const HOST = /^(?:\[[\da-f:.]+\]|(?:[\w.~!$&'()*+,;=-]|%[\da-f]{2})+)(?::\d{0,5})?$/i;

/** RFC 9112, section 3.2. Only HTTP/1.0 requests get this far without a Host header. */
export function hasValidHost({ headers }: Request): boolean {
  const host = headers.get("host");
  return host === null || HOST.test(host);
}

/** The path of a request. Does not use `URL`, which throws if the Host header is malformed. */
export const pathOf = ({ url }: Request): string =>
  url.replace(/^https?:\/\/[^/]*/, "").split("?", 1)[0] ?? "";

/** A trailing slash leads to the same route. */
export const isPathIn = (paths: readonly string[], path: string): boolean =>
  paths.includes(path.replace(/\/$/, ""));
