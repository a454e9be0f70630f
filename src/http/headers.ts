import { fieldProblem, Problem } from "../kit/problem.ts";
import type { RequestParts } from "./request-context.ts";
import { contextOf } from "./request-context.ts";

interface Header {
  name: string;
  description: string;
  schema: Record<string, unknown>;
}
const text = { type: "string" };

/** Request headers that some routes read. */
export const requestHeaders = {
  "idempotency-key": {
    name: "Idempotency-Key",
    description:
      "A key of your choice for this request, such as a UUID. A retry with the same key and body within a day gets the first response. Routes that do not list this header return 400 for it, except for GET.",
    schema: { ...text, minLength: 1, maxLength: 255, pattern: "^[\\x21-\\x7e]+$" },
  },
  "if-match": {
    name: "If-Match",
    description:
      "ETags that the resource may have, or `*`. If the resource has another ETag, the response is 412 and nothing changes. Routes that do not list this header return 400 for it.",
    schema: text,
  },
  "if-none-match": {
    name: "If-None-Match",
    description: "ETags that the client has. If the resource has one of them, the response is 304.",
    schema: text,
  },
  "device-token": {
    name: "Device-Token",
    description:
      "The device token of an earlier sign-in, for clients without cookies. Failed sign-ins of other clients do not lock out a known device, and a refresh can be retried from another network.",
    schema: text,
  },
  "last-event-id": {
    name: "Last-Event-ID",
    description:
      "The `id` of the last event that the client received. The stream resumes after it. Replaces `after`.",
    schema: { ...text, pattern: "^[0-9a-f]{32}$" },
  },
} satisfies Record<string, Header>;
export type RequestHeader = keyof typeof requestHeaders;

/** Response headers that clients need. */
export const responseHeaders = {
  "x-request-id": {
    name: "X-Request-Id",
    description: "The id of this request in the service's log.",
    schema: text,
  },
  "ratelimit-policy": {
    name: "RateLimit-Policy",
    description:
      "The rate limits that apply to the request: `q` requests in `w` seconds (draft-ietf-httpapi-ratelimit-headers). `w` is the time after which an exhausted limit is full again. A part of it may refill earlier, as `RateLimit` shows.",
    schema: { ...text, examples: ['"login";q=10;w=120'] },
  },
  ratelimit: {
    name: "RateLimit",
    description:
      "What remains of each rate limit: `r` requests. The next refill is in `t` seconds.",
    schema: { ...text, examples: ['"login";r=9;t=12'] },
  },
  "retry-after": {
    name: "Retry-After",
    description: "Seconds to wait before the next attempt.",
    schema: { type: "integer" },
  },
  "www-authenticate": {
    name: "WWW-Authenticate",
    description: "How to authenticate (RFC 9110, RFC 6750).",
    schema: text,
  },
  etag: {
    name: "ETag",
    description: "The current version of the resource, for If-Match and If-None-Match.",
    schema: { ...text, examples: ['"mi0lqs5u"'] },
  },
  location: {
    name: "Location",
    description: "The URL of the new resource.",
    schema: { ...text, format: "uri-reference" },
  },
  link: {
    name: "Link",
    description: 'The URL of the next page (`rel="next"`, RFC 8288). Absent on the last page.',
    schema: text,
  },
  "x-total-count": {
    name: "X-Total-Count",
    description: "The number of items on all pages, if the request has `total=true`.",
    schema: { type: "integer" },
  },
  "idempotency-replayed": {
    name: "Idempotency-Replayed",
    description:
      "`true`: this is the response to an earlier request with the same Idempotency-Key.",
    schema: { ...text, enum: ["true"] },
  },
  "device-token": {
    name: "Device-Token",
    description: "A device token. A client that sends it back is a known device.",
    schema: text,
  },
  "set-cookie": {
    name: "Set-Cookie",
    description: "The same device token for browsers (HttpOnly).",
    schema: text,
  },
} satisfies Record<string, Header>;
export type ResponseHeader = keyof typeof responseHeaders;

/** Members of an operation: the request headers that it reads, and its own response headers. */
export const REQUEST_HEADERS = "x-request-headers";
export const RESPONSE_HEADERS = "x-response-headers";

/** Members of an operation that OpenAPI does not define. */
const extension = (more: object): { hide?: boolean } => more;

export const headerMacros = {
  /** Request headers that the route reads. All other routes refuse those of `conditions`. */
  requestHeaders: (names: readonly RequestHeader[]) => ({
    detail: extension({ [REQUEST_HEADERS]: names }),
    transform: ({ request }: { request: Request }) => {
      contextOf(request).requestHeaders = names;
    },
  }),
  /** For the OpenAPI document: headers of a successful response. */
  responseHeaders: (names: readonly ResponseHeader[]) => ({
    detail: extension({ [RESPONSE_HEADERS]: names }),
  }),
};

/** A route that ignored one of these would do what the client ruled out. */
const conditions = ["idempotency-key", "if-match", "if-none-match"] as const;
/** GET may always answer If-None-Match with the full response (RFC 9110, section 13.1.2). */
const conditionsOfGet = ["if-match"] as const;

/** Throws `unsupported_header` for a header of `conditions` that the route does not read. */
export function refuseUnsupported({
  request,
  headers,
}: Pick<RequestParts, "request" | "headers">): void {
  const isRead = request.method === "GET" || request.method === "HEAD";
  const { requestHeaders: declared = [] } = contextOf(request);
  const errors = (isRead ? conditionsOfGet : conditions)
    .filter((name) => headers[name] !== undefined && !declared.includes(name))
    .map((name) =>
      fieldProblem(
        `/header/${requestHeaders[name].name}`,
        "not_allowed",
        "is not supported by this route",
      ),
    );
  if (errors.length > 0) throw new Problem("unsupported_header", { errors });
}
