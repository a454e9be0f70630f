import type { Ctx } from "../ctx.ts";
import { noTracing, type Span } from "../kit/tracing.ts";
import { methodOf } from "./observers.ts";
import { contextOf, type Handler } from "./request-context.ts";

/** Starts a trace with each request, or continues the client's (W3C Trace Context). */
export function withTracing({ tracing }: Ctx, answer: Handler): Handler {
  if (tracing === noTracing) return answer;
  return (request) => {
    const parent = request.headers.get("traceparent");
    if (!tracing.isSampled(parent)) return answer(request);
    const method = methodOf(request);
    const attributes = { "http.request.method": method };
    return tracing.begin({ name: method, kind: "server", attributes }, parent, (span) => {
      if (!span) return answer(request);
      contextOf(request).traceId = span.traceId;
      const record = (response: Response) => recordResponse(span, request, response);
      const answering = answer(request);
      return answering instanceof Promise ? answering.then(record) : record(answering);
    });
  };
}

/**
 * Sets attributes by OpenTelemetry's semantic conventions for HTTP servers. Records only the
 * pattern of the URL: URLs of mailed links contain secrets.
 */
function recordResponse(span: Span, request: Request, response: Response): Response {
  const { id, route, refusal, userId } = contextOf(request);
  const { status } = response;
  if (route) span.setName(`${methodOf(request)} ${route}`);
  span.setAttributes({
    "http.route": route,
    "http.response.status_code": status,
    "user.id": userId,
    "bunker.request_id": id,
    "bunker.problem": refusal,
    // A client error is not a failure of the server.
    "error.type": status < 500 ? undefined : (refusal ?? String(status)),
  });
  return response;
}
