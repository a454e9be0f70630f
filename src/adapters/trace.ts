import { byScheme } from "../kit/by-scheme.ts";
import type { Log } from "../kit/log.ts";
import type { Tracing } from "../kit/tracing.ts";

export interface TraceOptions {
  /** The fraction of new traces to sample: 0 to 1. */
  sample: number;
  /** A random number for sampling, from 0 to less than 1. */
  chance: () => number;
  now: () => Date;
  /** Headers of each delivery, such as Authorization. */
  headers: Record<string, string>;
  log: Log;
}

/** Opens the receiver of OTLP_URL. Connects when there are spans to deliver. */
export const openTracing = (url: string, options: TraceOptions): Promise<Tracing> => {
  const otlp = async (endpoint: URL) => (await import("./otlp.ts")).openOtlp(endpoint, options);
  return byScheme<Tracing>({ "http:": otlp, "https:": otlp })(url);
};
