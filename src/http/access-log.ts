import type { Ctx } from "../ctx.ts";
import { traceParent } from "../kit/tracing.ts";
import type { Answered, Observer } from "./observers.ts";
import type { RequestContext } from "./request-context.ts";

/** Asked every few seconds by whoever watches: their lines would hide the others. */
const probes = new Set(["/livez", "/readyz", "/readyz/server", "/health", "/healthz", "/metrics"]);

/**
 * Writes one line for each answer: which route, what came of it, how long it took, and who asked. Nothing of it is what the
 * client wrote, but for a trace id: no path, query, header or address.
 */
export const accessLog = ({ config, log }: Ctx): Observer[] => {
  const note = (answered: Answered) => {
    const { status } = answered.response;
    if (status < 400 && probes.has(answered.context.route ?? "")) return;
    log[status < 500 ? "info" : "warn"](lineOf(answered), "Answered.");
  };
  return config.logAccess === "on" ? [{ note }] : [];
};

const lineOf = ({ method, request, response, context, seconds }: Answered) => ({
  method,
  route: context.route,
  status: response.status,
  code: context.refusal,
  duration_ms: Math.round(seconds * 1_000_000) / 1000,
  request_id: context.id,
  trace_id: traceIdOf(request, context),
  user_id: context.userId,
});

/** Ours, or else what the caller says. */
const traceIdOf = ({ headers }: Request, { traceId }: RequestContext): string | undefined =>
  traceId ?? traceParent(headers.get("traceparent"))?.traceId;
