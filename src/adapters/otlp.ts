import { AsyncLocalStorage } from "node:async_hooks";
import { hostname } from "node:os";
import {
  type Context,
  type Span as OtelSpan,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  trace,
} from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { resourceFromAttributes } from "@opentelemetry/resources";
import {
  AlwaysOnSampler,
  BatchSpanProcessor,
  type SpanExporter,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import { version } from "../kit/build.ts";
import type { Log } from "../kit/log.ts";
import {
  type NewSpan,
  type Span,
  type TraceParent,
  type Tracing,
  traceParent,
} from "../kit/tracing.ts";
import type { TraceOptions } from "./trace.ts";

/** What waits to be delivered beyond this is dropped, and so is what nobody took after several tries. */
const QUEUE_MAX = 4_096;
const BATCH_MAX = 512;
const DELIVER_EVERY_MS = 2_000;
const DELIVERY_MAX_MS = 5_000;
const CLOSE_MAX_MS = 2_000;

const kinds = {
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  internal: SpanKind.INTERNAL,
} as const;

/** Traces by OTLP over HTTP, in JSON, a batch at a time: to an OpenTelemetry collector, Tempo, Jaeger and others. */
export function openOtlp(place: URL, { sample, chance, headers, log }: TraceOptions): Tracing {
  const url = new URL(place);
  url.pathname = `${url.pathname.replace(/\/$/, "")}/v1/traces`;
  const exporter = new OTLPTraceExporter({
    url: url.href,
    headers,
    timeoutMillis: DELIVERY_MAX_MS,
  });
  const processor = new BatchSpanProcessor({
    exporter: watched(exporter, log),
    maxQueueSize: QUEUE_MAX,
    maxExportBatchSize: BATCH_MAX,
    scheduledDelayMillis: DELIVER_EVERY_MS,
    exportTimeoutMillis: DELIVERY_MAX_MS,
  });
  const provider = new TracerProvider({
    // Who is followed is decided before there is a span at all.
    sampler: new AlwaysOnSampler(),
    spanProcessors: [processor],
    resource: resourceFromAttributes({
      "service.name": "bunker",
      "service.version": version,
      "service.instance.id": `${hostname()}:${process.pid}`,
    }),
  });
  const tracer = provider.getTracer("bunker", version);
  const around = new AsyncLocalStorage<Context>();

  const start = <T>(
    { name, kind, attributes }: NewSpan,
    parent: Context,
    work: (span: Span) => T,
  ) => {
    const span = tracer.startSpan(name, { kind: kinds[kind ?? "internal"] }, parent);
    const mine = openSpan(span);
    mine.note(attributes ?? {});
    return around.run(trace.setSpan(parent, span), () => untilDone(mine, span, work));
  };
  const follow = <T>(span: NewSpan, parent: TraceParent, work: (span?: Span) => T): T => {
    const { traceId, spanId, isSampled } = parent;
    if (!isSampled) return work();
    const remote = { traceId, spanId, traceFlags: TraceFlags.SAMPLED, isRemote: true };
    return start(span, trace.setSpanContext(ROOT_CONTEXT, remote), work);
  };
  return {
    picks: (text) => traceParent(text)?.isSampled ?? chance() < sample,
    begin: (span, text, work) => {
      const parent = traceParent(text);
      return parent ? follow(span, parent, work) : start(span, ROOT_CONTEXT, work);
    },
    resume: (span, text, work) => {
      const parent = traceParent(text);
      return parent ? follow(span, parent, work) : work();
    },
    within: (span, work) => {
      const parent = around.getStore();
      return parent ? start(span, parent, work) : work();
    },
    postmark: () => {
      const span = trace.getSpanContext(around.getStore() ?? ROOT_CONTEXT);
      return span ? `00-${span.traceId}-${span.spanId}-01` : null;
    },
    close: async () => {
      const late = new Promise((resolve) => setTimeout(resolve, CLOSE_MAX_MS).unref());
      await Promise.race([provider.shutdown().catch(() => {}), late]);
    },
  };
}

const openSpan = (span: OtelSpan): Span => ({
  traceId: span.spanContext().traceId,
  note: (attributes) => {
    for (const [name, value] of Object.entries(attributes))
      if (value !== undefined) span.setAttribute(name, value);
    if (attributes["error.type"] !== undefined) span.setStatus({ code: SpanStatusCode.ERROR });
  },
  rename: (name) => span.updateName(name),
});

/** Ends the span with its work. Of what was thrown only its name or code is told: messages may have people's data in them. */
function untilDone<T>(mine: Span, span: OtelSpan, work: (span: Span) => T): T {
  const fail = (error: unknown) => {
    const { code, name } = error as NodeJS.ErrnoException;
    mine.note({ "error.type": typeof code === "string" ? code : name });
    span.end();
    return error;
  };
  try {
    const result = work(mine);
    if (!(result instanceof Promise)) {
      span.end();
      return result;
    }
    const finished = result.then(
      (value) => {
        span.end();
        return value;
      },
      (error) => {
        throw fail(error);
      },
    );
    return finished as T;
  } catch (error) {
    throw fail(error);
  }
}

const SUCCESS = 0;

/** Says once that nobody takes the traces, and once that somebody does again. */
function watched(exporter: SpanExporter, log: Log): SpanExporter {
  let isAway = false;
  return {
    export: (spans, done) =>
      exporter.export(spans, (result) => {
        const isFailed = result.code !== SUCCESS;
        if (isFailed && !isAway)
          log.warn(
            { reason: reasonOf(result.error) },
            "Traces cannot be delivered to OTLP_URL: they are dropped until they can.",
          );
        if (!isFailed && isAway) log.info({}, "Traces are delivered again.");
        isAway = isFailed;
        done(result);
      }),
    shutdown: () => exporter.shutdown(),
    forceFlush: async () => exporter.forceFlush?.(),
  };
}

const reasonOf = (error: (Error & { code?: unknown }) | undefined) =>
  String(error?.code ?? error?.name);
