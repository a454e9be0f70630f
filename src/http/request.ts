import { Elysia } from "elysia";
import { trailOf } from "./trail.ts";
import { notePeer } from "./visit.ts";

/** Gives every request its id, and every answer the headers that a browser should find on an API. */
export const requestPlugin = new Elysia({ name: "request" })
  .headers({
    // Tokens and people: nothing that stands between keeps a copy. What may be kept says so itself.
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
  })
  .onRequest(({ request, server, set }) => {
    set.headers["x-request-id"] = trailOf(request).id;
    notePeer({ request, server });
  })
  .onTransform({ as: "global" }, ({ request, route }) => {
    trailOf(request).route = route;
  });
