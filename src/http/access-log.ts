import type { Ctx } from "../ctx.ts";
import { parseTraceParent } from "../kit/tracing.ts";
import type { HandledRequest, Observer } from "./observers.ts";
import type { RequestContext } from "./request-context.ts";

/** Requested by monitoring every few seconds: their successes would hide the others. */
const probes = new Set(["/livez", "/readyz", "/readyz/server", "/health", "/healthz", "/metrics"]);

/**
 * Writes one line for each response. Nothing in it is written by the client, except for a trace id:
 * no path, query, header or IP.
 */
export const accessLog = ({ config, log }: Ctx): Observer[] => {
  const onResponse = (handled: HandledRequest) => {
    const { status } = handled.response;
    if (status < 400 && probes.has(handled.context.route ?? "")) return;
    log[status < 500 ? "info" : "warn"](lineOf(handled), "Request completed.");
  };
  return config.logAccess === "on" ? [{ onResponse }] : [];
};

const lineOf = ({ method, request, response, context, seconds }: HandledRequest) => ({
  method,
  route: context.route,
  status: response.status,
  code: context.problemCode,
  duration_ms: Math.round(seconds * 1_000_000) / 1000,
  request_id: context.id,
  trace_id: traceIdOf(request, context),
  user_id: context.userId,
});

/** The trace id of Bunker, or else of the client. */
const traceIdOf = ({ headers }: Request, { traceId }: RequestContext): string | undefined =>
  traceId ?? parseTraceParent(headers.get("traceparent"))?.traceId;
