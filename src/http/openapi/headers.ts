import {
  REQUEST_HEADERS,
  RESPONSE_HEADERS,
  type RequestHeader,
  type ResponseHeader,
  requestHeaders,
  responseHeaders,
} from "../headers.ts";

interface Reference {
  $ref: string;
}
interface Described {
  description?: string;
  headers?: Record<string, Reference>;
}
interface Operation {
  parameters?: object[];
  responses: Record<string, Described>;
  "x-rate-limits"?: string[];
  [REQUEST_HEADERS]?: RequestHeader[];
  [RESPONSE_HEADERS]?: ResponseHeader[];
}

export const headerComponents = () => ({
  headers: byName(responseHeaders, ({ description, schema }) => ({ description, schema })),
  parameters: byName(requestHeaders, (header) => ({ ...header, in: "header", required: false })),
});

const byName = <H extends { name: string }>(
  table: Record<string, H>,
  write: (header: H) => object,
) => Object.fromEntries(Object.values(table).map((header) => [header.name, write(header)]));

/** Adds the headers of an operation, derived from its route's declarations, limits and statuses. */
export function describeHeaders(operation: Operation): void {
  const {
    [REQUEST_HEADERS]: reads = [],
    [RESPONSE_HEADERS]: sends = [],
    parameters = [],
  } = operation;
  delete operation[REQUEST_HEADERS];
  delete operation[RESPONSE_HEADERS];
  if (reads.length > 0)
    operation.parameters = [
      ...parameters,
      ...reads.map((name) => ({ $ref: `#/components/parameters/${requestHeaders[name].name}` })),
    ];
  const isList = parameters.some(({ name }: { name?: string }) => name === "cursor");
  const always: ResponseHeader[] = [
    "x-request-id",
    ...(operation["x-rate-limits"]?.length ? LIMITED : []),
    ...(reads.includes("idempotency-key") ? (["idempotency-replayed"] as const) : []),
  ];
  const good: ResponseHeader[] = [...sends, ...(isList ? LISTED : [])];
  const isVersioned = reads.some((name) => name === "if-match" || name === "if-none-match");
  for (const [status, response] of Object.entries(operation.responses)) {
    const names = [
      ...always,
      ...(status < "300" ? good : []),
      ...(byStatus[status] ?? []),
      ...(isVersioned && VERSIONED.includes(status) ? (["etag"] as const) : []),
    ];
    response.headers = Object.fromEntries(
      names.map((name) => [responseHeaders[name].name, referTo(name)]),
    );
  }
}

const referTo = (name: ResponseHeader): Reference => ({
  $ref: `#/components/headers/${responseHeaders[name].name}`,
});

const LIMITED = ["ratelimit", "ratelimit-policy"] as const;
const LISTED = ["link", "x-total-count"] as const;
const VERSIONED = ["200", "304", "412"];
const byStatus: Record<string, ResponseHeader[]> = {
  201: ["location"],
  401: ["www-authenticate"],
  429: ["retry-after"],
  503: ["retry-after"],
};
