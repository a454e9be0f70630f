import { AsyncLocalStorage } from "node:async_hooks";
import { hostname } from "node:os";
import { version } from "../kit/build.ts";
import type { Log } from "../kit/log.ts";
import { type NewSpan, parseTraceParent, type Span, type Tracing } from "../kit/tracing.ts";
import { openDelivery } from "./otlp-delivery.ts";
import { attributesOf, type OpenSpan, openSpan, type Parent } from "./otlp-span.ts";

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

/** Sends traces by OTLP over HTTP, as JSON, in batches. */
export function openOtlp(
  endpoint: URL,
  { sample, chance, now, headers, log }: TraceOptions,
): Tracing {
  const url = new URL(endpoint);
  url.pathname = `${url.pathname.replace(/\/$/, "")}/v1/traces`;
  const resource = attributesOf({
    "service.name": "bunker",
    "service.version": version,
    "service.instance.id": `${hostname()}:${process.pid}`,
  });
  const delivery = openDelivery({ url, headers, resource, log });
  // Delivery must not run in the span that triggered it.
  const add = AsyncLocalStorage.bind(delivery.add);
  const current = new AsyncLocalStorage<OpenSpan>();

  const start = <T>(about: NewSpan, parent: Parent | undefined, work: (span: Span) => T): T => {
    const span = openSpan(about, { parent, now });
    const end = (failure?: { error: unknown }) => add(span.end(failure));
    return current.run(span, () => endAfter(() => work(span), end));
  };
  return {
    isSampled: (text) => parseTraceParent(text)?.isSampled ?? chance() < sample,
    begin: (about, text, work) => {
      const parent = parseTraceParent(text);
      return (parent?.isSampled ?? true) ? start(about, parent, work) : work();
    },
    resume: (about, text, work) => {
      const parent = parseTraceParent(text);
      return parent?.isSampled ? start(about, parent, work) : work();
    },
    within: (about, work) => {
      const parent = current.getStore();
      return parent ? start(about, parent, work) : work();
    },
    hasSpan: () => current.getStore() !== undefined,
    traceParent: () => {
      const span = current.getStore();
      return span ? `00-${span.traceId}-${span.spanId}-01` : null;
    },
    close: delivery.close,
  };
}

/** Calls `end` when the work is done, with the error if it threw one. */
function endAfter<T>(work: () => T, end: (failure?: { error: unknown }) => void): T {
  const fail = (error: unknown): never => {
    end({ error });
    throw error;
  };
  try {
    const result = work();
    if (!(result instanceof Promise)) {
      end();
      return result;
    }
    const finish = (value: unknown) => {
      end();
      return value;
    };
    return result.then(finish, fail) as T;
  } catch (error) {
    return fail(error);
  }
}
