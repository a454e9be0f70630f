/**
 * The content of a span. Every text is from a closed list or made by us. It never has text of a
 * client, nor SQL.
 */
export interface NewSpan {
  /** One of few names, such as `SELECT users`. */
  name: string;
  /** The span kind of OpenTelemetry. The default is `internal`. */
  kind?: "server" | "client" | "internal";
  attributes?: Attributes;
}
/** Named by OpenTelemetry's semantic conventions, if they have a name. Undefined is left out. */
export type Attributes = Record<string, string | number | undefined>;

/** A span that has started. */
export interface Span {
  /** 32 hexadecimal digits. */
  traceId: string;
  /** Adds attributes. `error.type` marks the span as failed. */
  note: (attributes: Attributes) => void;
  rename: (name: string) => void;
}

/** Distributed tracing (OpenTelemetry, W3C Trace Context). */
export interface Tracing {
  /**
   * The sampling decision for a request: that of its `traceparent`, otherwise by TRACE_SAMPLE. Call
   * it before you build a span.
   */
  picks: (parent: string | null) => boolean;
  /** Runs `work` in a new trace, or in the one of a `traceparent`. */
  begin: <T>(span: NewSpan, parent: string | null, work: (span?: Span) => T) => T;
  /**
   * Runs `work` in the trace of a stored `traceparent`. Without a sampled one, only runs `work`.
   */
  resume: <T>(span: NewSpan, parent: string | null, work: (span?: Span) => T) => T;
  /** Runs `work` in a child of the current span. Without a current span, only runs `work`. */
  within: <T>(span: NewSpan, work: (span?: Span) => Promise<T>) => Promise<T>;
  /** True if there is a current span. Call it before you build a child span. */
  follows: () => boolean;
  /** The `traceparent` of the current span, to continue the trace elsewhere or later. */
  postmark: () => string | null;
  /** Delivers the queued spans, for at most two seconds. */
  close: () => Promise<void>;
}

/** Tracing is off. */
export const noTracing: Tracing = {
  picks: () => false,
  begin: (_, __, work) => work(),
  resume: (_, __, work) => work(),
  within: (_, work) => work(),
  follows: () => false,
  postmark: () => null,
  close: async () => {},
};

export interface TraceParent {
  traceId: string;
  spanId: string;
  isSampled: boolean;
}

/**
 * Version, trace id, parent id, flags. A later version may append fields. A malformed header is
 * ignored as a whole.
 */
const TRACEPARENT =
  /^(?:00|(?!ff)[0-9a-f]{2}(?=.{53}(?:-|$)))-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})/;
const TRACEPARENT_MAX = 128;

/** Reads a `traceparent` (W3C Trace Context, section 3.2). */
export function traceParent(text: string | null): TraceParent | undefined {
  if (text === null || text.length > TRACEPARENT_MAX) return undefined;
  if (text.startsWith("00-") && text.length !== 55) return undefined;
  const [, traceId, spanId, flags = ""] = TRACEPARENT.exec(text) ?? [];
  if (!traceId || !spanId) return undefined;
  return { traceId, spanId, isSampled: (Number.parseInt(flags, 16) & 1) === 1 };
}
