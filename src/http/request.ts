import { Elysia } from "elysia";
import type { Ctx } from "../ctx.ts";
import { openProxyChain } from "../kit/network.ts";
import { Problem } from "../kit/problem.ts";
import { hasValidHost } from "./host.ts";
import { recordPeer } from "./origin.ts";
import type { RequestParts } from "./request-context.ts";
import { contextOf } from "./request-context.ts";

export const commonHeaders = {
  // No cache may store tokens and personal data. A cacheable response overrides this.
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "referrer-policy": "no-referrer",
};

/** UUIDs, hexadecimal, base64, `Root=1-…`. No character can end a line or a field of a log. */
const REQUEST_ID = /^[\w+/=.:;@-]{1,128}$/;

/** The id that a trusted proxy gave to a request. Any other client could write into the log. */
function openProxyIds({ trustedProxies }: Ctx["config"]) {
  const { isTrusted } = openProxyChain(trustedProxies);
  return ({ request, server }: Pick<RequestParts, "request" | "server">): string | undefined => {
    const id = request.headers.get("x-request-id");
    if (id === null || !REQUEST_ID.test(id)) return undefined;
    const peer = contextOf(request).peer ?? server?.requestIP(request)?.address;
    return peer && isTrusted(peer) ? id : undefined;
  };
}

/** Gives every request its id, and every response the common headers. */
export const requestPlugin = ({ config }: Ctx) => {
  const idFromProxy = config.trustedProxies.length > 0 ? openProxyIds(config) : undefined;
  return new Elysia({ name: "request" })
    .headers(commonHeaders)
    .onRequest(({ request, server, set }) => {
      const context = contextOf(request);
      context.id = idFromProxy?.({ request, server }) ?? context.id;
      set.headers["x-request-id"] = context.id;
      recordPeer({ request, server });
      if (!hasValidHost(request))
        throw new Problem("malformed_request", {
          detail: "The Host header is empty, repeated or malformed",
        });
    })
    .onTransform({ as: "global" }, ({ request, route }) => {
      const context = contextOf(request);
      context.route = route;
      context.bodyReadAt = performance.now();
      context.onBodyRead?.();
    });
};
