import { byScheme } from "../kit/by-scheme.ts";
import type { Log } from "../kit/log.ts";
import type { Tracing } from "../kit/tracing.ts";

export interface TraceOptions {
  /** Of those traces that begin here, what part is followed: 0 to 1. */
  sample: number;
  /** Throws the dice for it: from 0 to less than 1. */
  chance: () => number;
  now: () => Date;
  /** Sent along, such as an authorization. */
  headers: Record<string, string>;
  log: Log;
}

/** Opens what OTLP_URL names. Nothing is connected before there is something to deliver. */
export const openTracing = (url: string, options: TraceOptions): Promise<Tracing> => {
  const otlp = async (place: URL) => (await import("./otlp.ts")).openOtlp(place, options);
  return byScheme<Tracing>({ "http:": otlp, "https:": otlp })(url);
};
