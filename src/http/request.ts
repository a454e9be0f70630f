import { Elysia } from "elysia";
import { Problem } from "../kit/problem.ts";
import { hasValidHost } from "./host.ts";
import { trailOf } from "./trail.ts";
import { notePeer } from "./visit.ts";

/** What a browser should find on every answer of an API. */
export const commonHeaders = {
  // Tokens and people: nothing that stands between keeps a copy. What may be kept says so itself.
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "referrer-policy": "no-referrer",
};

/** Gives every request its id, and every answer those headers. */
export const requestPlugin = new Elysia({ name: "request" })
  .headers(commonHeaders)
  .onRequest(({ request, server, set }) => {
    set.headers["x-request-id"] = trailOf(request).id;
    notePeer({ request, server });
    if (!hasValidHost(request))
      throw new Problem("malformed_request", {
        detail: "The Host header is empty, repeated or malformed",
      });
  })
  .onTransform({ as: "global" }, ({ request, route }) => {
    const trail = trailOf(request);
    trail.route = route;
    trail.workedOnSince = performance.now();
  });
