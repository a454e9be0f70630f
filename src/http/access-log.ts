import type { Ctx } from "../ctx.ts";
import { type Answering, type Trail, trailOf } from "./trail.ts";

/** Asked every few seconds by whoever watches: their lines would hide the others. */
const probes = new Set(["/livez", "/readyz", "/health", "/healthz", "/metrics"]);

/**
 * Writes one line for each answer: which route, what came of it, how long it took, and who asked. Nothing of it is what the
 * client wrote, but for a trace id: no path, query, header or address.
 */
export function logged({ config, log }: Pick<Ctx, "config" | "log">, answer: Answering): Answering {
  if (config.logAccess === "off") return answer;
  const note = (request: Request, response: Response, startedAt: number): Response => {
    const trail = trailOf(request);
    const level = response.status < 500 ? "info" : "warn";
    if (level === "warn" || !probes.has(trail.route ?? ""))
      log[level](lineOf({ request, trail, response, startedAt }), "Answered.");
    return response;
  };
  return (request) => {
    const startedAt = performance.now();
    const response = answer(request);
    return response instanceof Promise
      ? response.then((one) => note(request, one, startedAt))
      : note(request, response, startedAt);
  };
}

interface Answered {
  request: Request;
  trail: Trail;
  response: Response;
  startedAt: number;
}

const lineOf = ({ request, trail, response, startedAt }: Answered) => ({
  method: methodOf(request),
  route: trail.route,
  status: response.status,
  code: trail.refusal,
  duration_ms: Math.round((performance.now() - startedAt) * 1000) / 1000,
  request_id: trail.id,
  trace_id: traceIdOf(request),
  user_id: trail.userId,
});

const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/** A closed list, as OpenTelemetry's semantic conventions have it (http.request.method). */
const methodOf = ({ method }: Request): string => (METHODS.includes(method) ? method : "_OTHER");

/** W3C Trace Context, section 3.2: version, trace id, parent id, flags. Of what is written otherwise nothing is taken. */
const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;
const traceIdOf = ({ headers }: Request): string | undefined =>
  TRACEPARENT.exec(headers.get("traceparent") ?? "")?.[1];
