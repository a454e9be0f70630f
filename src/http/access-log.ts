import type { Ctx } from "../ctx.ts";
import type { Answered, Observer } from "./observed.ts";

/** Asked every few seconds by whoever watches: their lines would hide the others. */
const probes = new Set(["/livez", "/readyz", "/health", "/healthz", "/metrics"]);

/**
 * Writes one line for each answer: which route, what came of it, how long it took, and who asked. Nothing of it is what the
 * client wrote, but for a trace id: no path, query, header or address.
 */
export const accessLog = ({ config, log }: Pick<Ctx, "config" | "log">): Observer[] => {
  const note = (answered: Answered) => {
    const { status } = answered.response;
    if (status < 400 && probes.has(answered.trail.route ?? "")) return;
    log[status < 500 ? "info" : "warn"](lineOf(answered), "Answered.");
  };
  return config.logAccess === "on" ? [{ note }] : [];
};

const lineOf = ({ method, request, response, trail, seconds }: Answered) => ({
  method,
  route: trail.route,
  status: response.status,
  code: trail.refusal,
  duration_ms: Math.round(seconds * 1_000_000) / 1000,
  request_id: trail.id,
  trace_id: traceIdOf(request),
  user_id: trail.userId,
});

/** W3C Trace Context, section 3.2: version, trace id, parent id, flags. Of what is written otherwise nothing is taken. */
const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;
const traceIdOf = ({ headers }: Request): string | undefined =>
  TRACEPARENT.exec(headers.get("traceparent") ?? "")?.[1];
