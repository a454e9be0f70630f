import type { Attributes, NewSpan, Span, TraceParent } from "../kit/tracing.ts";

/** A span that has not ended. `end` returns it in the JSON of OTLP. */
export interface OpenSpan extends Span {
  spanId: string;
  /** The Unix time in ms at `performance.now()` 0, the same for all spans of a trace. */
  epochMs: number;
  end: (failure?: { error: unknown }) => string;
}

export type Parent = Pick<TraceParent, "traceId" | "spanId"> & { epochMs?: number };

/** Opens a span of opentelemetry-proto (trace/v1): ids in hexadecimal, times in ns as text. */
export function openSpan(
  about: NewSpan,
  { parent, now }: { parent: Parent | undefined; now: () => Date },
): OpenSpan {
  const startedAt = performance.now();
  const epochMs = parent?.epochMs ?? now().getTime() - startedAt;
  const traceId = parent?.traceId ?? randomHex(16);
  const spanId = randomHex(8);
  const known = { ...about.attributes };
  let { name } = about;
  const nanosAt = (ms: number) => `${Math.round((epochMs + ms) * 1_000)}000`;
  const setAttributes = (attributes: Attributes) => Object.assign(known, attributes);
  return {
    traceId,
    spanId,
    epochMs,
    setAttributes,
    setName: (to) => {
      name = to;
    },
    end: (failure) => {
      if (failure) setAttributes({ "error.type": errorType(failure.error) });
      return JSON.stringify({
        traceId,
        spanId,
        parentSpanId: parent?.spanId,
        name,
        kind: kinds[about.kind ?? "internal"],
        startTimeUnixNano: nanosAt(startedAt),
        endTimeUnixNano: nanosAt(performance.now()),
        attributes: attributesOf(known),
        status: known["error.type"] === undefined ? {} : FAILED,
      });
    },
  };
}

const kinds = { internal: 1, server: 2, client: 3 } as const;
const FAILED = { code: 2 };

const randomHex = (bytes: number) => crypto.getRandomValues(new Uint8Array(bytes)).toHex();

/** The code or name of an error. Not its message, which may have personal data. */
export const errorType = (error: unknown): string => {
  const { code, name = "unknown" } = (error ?? {}) as Partial<NodeJS.ErrnoException>;
  return typeof code === "string" ? code : name;
};

interface KeyValue {
  key: string;
  value: { stringValue: string } | { intValue: string } | { doubleValue: number };
}

/** Attributes of opentelemetry-proto (common/v1). */
export function attributesOf(attributes: Attributes): KeyValue[] {
  const list: KeyValue[] = [];
  for (const key in attributes) {
    const value = attributes[key];
    if (value !== undefined) list.push({ key, value: anyValue(value) });
  }
  return list;
}

const anyValue = (value: string | number): KeyValue["value"] => {
  if (typeof value === "string") return { stringValue: value };
  return Number.isSafeInteger(value) ? { intValue: String(value) } : { doubleValue: value };
};
