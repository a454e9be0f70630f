/** What a span tells of itself. Every word is from a closed list, or made by us: nothing that a client wrote, no SQL. */
export interface NewSpan {
  /** Of few different ones, such as `SELECT users`. */
  name: string;
  /** As OpenTelemetry has them; `internal` where nothing is said. */
  kind?: "server" | "client" | "internal";
  attributes?: Attributes;
}
/** By OpenTelemetry's semantic conventions where they have a name for it. What is undefined is left out. */
export type Attributes = Record<string, string | number | undefined>;

/** A span that has begun. */
export interface Span {
  /** 32 hexadecimal digits. */
  traceId: string;
  /** The span failed, if it has `error.type` then. */
  note: (attributes: Attributes) => void;
  rename: (name: string) => void;
}

/** Follows a request through what it causes (OpenTelemetry, W3C Trace Context). */
export interface Tracing {
  /** Whether to follow what begins: as its `traceparent` says, or else one of many (TRACE_SAMPLE). To be asked before anything is made for a span. */
  picks: (parent: string | null) => boolean;
  /** Does `work` as a trace of its own, or as a part of the one that a `traceparent` names. */
  begin: <T>(span: NewSpan, parent: string | null, work: (span?: Span) => T) => T;
  /** Goes on with what a postmark names; where it names nothing, just does `work`. */
  resume: <T>(span: NewSpan, postmark: string | null, work: (span?: Span) => T) => T;
  /** Does `work` as a part of what goes on around it; where that is not followed, just does it. */
  within: <T>(span: NewSpan, work: (span?: Span) => Promise<T>) => Promise<T>;
  /** Whether what goes on here is followed. To be asked before anything is made for a part of it. */
  follows: () => boolean;
  /** What goes on here, as a `traceparent`, for whoever goes on with it elsewhere, or later. */
  postmark: () => string | null;
  /** Delivers what it has, as far as that goes within two seconds. */
  close: () => Promise<void>;
}

/** Where nobody watches, nothing is followed. */
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

/** Version, trace id, parent id, flags; a later version may add to them. Of what is written otherwise nothing is taken. */
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
