import type { Answering } from "./trail.ts";

/**
 * A request without a Host, as HTTP/1.0 has it (checks of load balancers do), comes with a path for a URL, and Elysia would
 * look for the path within that: it gets a URL like all others. Nothing else of it matters; where it came from is not known.
 */
export const withHost =
  (answer: Answering): Answering =>
  (request) =>
    request.url.startsWith("/")
      ? answer(new Request(`http://localhost${request.url}`, request))
      : answer(request);
