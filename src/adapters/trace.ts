import { byScheme } from "../kit/by-scheme.ts";
import type { Tracing } from "../kit/tracing.ts";
import type { TraceOptions } from "./otlp.ts";

/** Opens the receiver of OTLP_URL. Connects when there are spans to deliver. */
export const openTracing = (url: string, options: TraceOptions): Promise<Tracing> => {
  const otlp = async (endpoint: URL) => (await import("./otlp.ts")).openOtlp(endpoint, options);
  return byScheme<Tracing>({ "http:": otlp, "https:": otlp })(url);
};
