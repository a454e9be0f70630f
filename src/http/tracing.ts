import type { Ctx } from "../ctx.ts";
import { noTracing, type Span } from "../kit/tracing.ts";
import { methodOf } from "./observers.ts";
import { contextOf, type Handler, mapResponse } from "./request-context.ts";

/** Starts a trace with each request, or continues the client's (W3C Trace Context). */
export function withTracing({ tracing }: Ctx, next: Handler): Handler {
  if (tracing === noTracing) return next;
  return (request) => {
    const parent = request.headers.get("traceparent");
    if (!tracing.isSampled(parent)) return next(request);
    const method = methodOf(request);
    const attributes = { "http.request.method": method };
    return tracing.begin({ name: method, kind: "server", attributes }, parent, (span) => {
      if (!span) return next(request);
      contextOf(request).traceId = span.traceId;
      return mapResponse(next(request), (response) => recordResponse(span, request, response));
    });
  };
}

/** By OpenTelemetry's conventions. Only the pattern of the URL: mailed links contain secrets. */
function recordResponse(span: Span, request: Request, response: Response): Response {
  const { id, route, problemCode, userId } = contextOf(request);
  const { status } = response;
  if (route) span.setName(`${methodOf(request)} ${route}`);
  span.setAttributes({
    "http.route": route,
    "http.response.status_code": status,
    "user.id": userId,
    "bunker.request_id": id,
    "bunker.problem": problemCode,
    // A client error is not a failure of the server.
    "error.type": status < 500 ? undefined : (problemCode ?? String(status)),
  });
  return response;
}
