import type { Ctx } from "../ctx.ts";
import { type Span, untraced } from "../kit/tracing.ts";
import { methodOf } from "./observed.ts";
import { type Answering, trailOf } from "./trail.ts";

/** Begins a trace with each request, or goes on with the caller's (W3C Trace Context). */
export function traced({ tracing }: Ctx, answer: Answering): Answering {
  if (tracing === untraced) return answer;
  return (request) => {
    const parent = request.headers.get("traceparent");
    if (!tracing.picks(parent)) return answer(request);
    const method = methodOf(request);
    const attributes = { "http.request.method": method };
    return tracing.begin({ name: method, kind: "server", attributes }, parent, (span) => {
      if (!span) return answer(request);
      trailOf(request).traceId = span.traceId;
      const note = (response: Response) => noteAnswer(span, request, response);
      const answering = answer(request);
      return answering instanceof Promise ? answering.then(note) : note(answering);
    });
  };
}

/** By OpenTelemetry's semantic conventions for HTTP servers. Of the URL only the pattern: links have secrets in theirs. */
function noteAnswer(span: Span, request: Request, response: Response): Response {
  const { id, route, refusal, userId } = trailOf(request);
  const { status } = response;
  if (route) span.rename(`${methodOf(request)} ${route}`);
  span.note({
    "http.route": route,
    "http.response.status_code": status,
    "user.id": userId,
    "bunker.request_id": id,
    "bunker.problem": refusal,
    // A client's mistake is no failure of the server.
    "error.type": status < 500 ? undefined : (refusal ?? String(status)),
  });
  return response;
}
