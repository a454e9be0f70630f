import type { Attributes, NewSpan, Span, TraceParent } from "../kit/tracing.ts";

/** A span that goes on. `end` answers it whole, as OTLP has it in JSON. */
export interface OpenSpan extends Span {
  spanId: string;
  /** What the time of day was when `performance.now()` was 0: one for a whole trace, so that its times fit together to the microsecond. */
  epochMs: number;
  end: (failure?: { error: unknown }) => string;
}

export type Parent = Pick<TraceParent, "traceId" | "spanId"> & { epochMs?: number };

/** A span as opentelemetry-proto has it (trace/v1): ids in hexadecimal, times in nanoseconds as text. */
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
  const note = (attributes: Attributes) => Object.assign(known, attributes);
  return {
    traceId,
    spanId,
    epochMs,
    note,
    rename: (to) => {
      name = to;
    },
    end: (failure) => {
      if (failure) note({ "error.type": errorType(failure.error) });
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

/** Of what was thrown only its name or code is told: messages may have people's data in them. */
export const errorType = (error: unknown): string => {
  const { code, name = "unknown" } = (error ?? {}) as Partial<NodeJS.ErrnoException>;
  return typeof code === "string" ? code : name;
};

interface KeyValue {
  key: string;
  value: { stringValue: string } | { intValue: string } | { doubleValue: number };
}

/** As opentelemetry-proto has them (common/v1). */
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
