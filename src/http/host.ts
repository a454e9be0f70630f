import type { Server } from "bun";
import { contextOf, type Handler } from "./request-context.ts";

/**
 * A request without a Host, as HTTP/1.0 has it (checks of load balancers do), comes with a path for a URL, and Elysia would
 * look for the path within that: it gets a URL like all others. Nothing else of it matters; where it came from is not known.
 */
export const withHost =
  (answer: Handler, server: () => Pick<Server<unknown>, "requestIP"> | null): Handler =>
  (request) => {
    if (request.headers.has("host")) return answer(request);
    const renamed = new Request(`http://localhost${request.url}`, request);
    // Bun knows the other end of the socket of its own request only.
    const peer = server()?.requestIP(request)?.address;
    if (peer) contextOf(renamed).peer = peer;
    return answer(renamed);
  };

/** `host [":" port]` of RFC 3986, section 3.2. Bun joins repeated Host lines by a comma and a space. */
const HOST = /^(?:\[[\da-f:.]+\]|(?:[\w.~!$&'()*+,;=-]|%[\da-f]{2})+)(?::\d{0,5})?$/i;

/** RFC 9112, section 3.2. Without a Host only HTTP/1.0 comes this far. */
export function hasValidHost({ headers }: Request): boolean {
  const host = headers.get("host");
  return host === null || HOST.test(host);
}

/** The path of a request. Without `URL`, which throws where the Host is malformed. */
export const pathOf = ({ url }: Request): string =>
  url.replace(/^https?:\/\/[^/]*/, "").split("?", 1)[0] ?? "";
