import type { Answering } from "./trail.ts";

/**
 * A request without a Host, as HTTP/1.0 has it (checks of load balancers do), comes with a path for a URL, and Elysia would
 * look for the path within that: it gets a URL like all others. Nothing else of it matters; where it came from is not known.
 */
export const withHost =
  (answer: Answering): Answering =>
  (request) =>
    request.headers.has("host")
      ? answer(request)
      : answer(new Request(`http://localhost${request.url}`, request));

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
