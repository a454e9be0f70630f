import { setTimeout as sleep } from "node:timers/promises";
import { type Static, type TSchema, Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import { freePort } from "./program.ts";

const only = { additionalProperties: false };
const hex = (bytes: number) => Type.String({ pattern: `^[0-9a-f]{${bytes * 2}}$` });
const decimal = Type.String({ pattern: "^[0-9]+$" });
const list = <T extends TSchema>(each: T) => Type.Array(each, { minItems: 1 });
const values = Type.Union([
  Type.Object({ stringValue: Type.String() }, only),
  Type.Object({ intValue: decimal }, only),
  Type.Object({ doubleValue: Type.Number() }, only),
]);
const keyValue = Type.Object({ key: Type.String({ minLength: 1 }), value: values }, only);
const attributes = Type.Array(keyValue);

/**
 * A span of opentelemetry-proto (trace/v1) in the JSON of OTLP 1.9: ids in hexadecimal, 64 bits as
 * text.
 */
const span = Type.Object(
  {
    traceId: hex(16),
    spanId: hex(8),
    parentSpanId: Type.Optional(hex(8)),
    name: Type.String({ minLength: 1 }),
    kind: Type.Integer({ minimum: 1, maximum: 5 }),
    startTimeUnixNano: decimal,
    endTimeUnixNano: decimal,
    attributes,
    status: Type.Object({ code: Type.Optional(Type.Integer({ minimum: 0, maximum: 2 })) }, only),
  },
  only,
);
const scope = Type.Object({ name: Type.String(), version: Type.String() }, only);
const scopeSpans = Type.Object({ scope, spans: list(span) }, only);
const resource = Type.Object({ attributes }, only);
const resourceSpans = Type.Object({ resource, scopeSpans: list(scopeSpans) }, only);
const delivery = Type.Object({ resourceSpans: list(resourceSpans) }, only);

export type Received = Static<typeof span>;

export interface Collector {
  url: string;
  spans: Received[];
  /** All requests in order. */
  texts: string[];
  headers: Headers[];
  of: (traceId: string) => Received[];
  /** From now on it refuses with this status. With 200 it accepts again. */
  answerWith: (status: number) => void;
  /** From now on it delays its responses. */
  answerAfter: (ms: number) => void;
  down: () => Promise<void>;
  up: () => void;
}

/** Receives traces by OTLP over HTTP, as an OpenTelemetry collector does. */
export async function collector(): Promise<Collector> {
  const port = await freePort();
  const it: Pick<Collector, "spans" | "texts" | "headers"> = { spans: [], texts: [], headers: [] };
  let status = 200;
  let answersAfterMs = 0;
  const take = async (request: Request) => {
    const body = await request.text();
    const answer = status;
    it.headers.push(request.headers);
    it.texts.push(body);
    await sleep(answersAfterMs);
    if (answer !== 200) return new Response(null, { status: answer, headers: { location: "/" } });
    const { method, url, headers } = request;
    const asked = [method, new URL(url).pathname, headers.get("content-type")];
    if (asked.join(" ") !== "POST /v1/traces application/json")
      return new Response(null, { status: 404 });
    const received: unknown = JSON.parse(body);
    Value.Assert(delivery, received);
    for (const { scopeSpans } of received.resourceSpans)
      for (const { spans } of scopeSpans) it.spans.push(...spans);
    return Response.json({ partialSuccess: {} });
  };
  const listen = () => Bun.serve({ hostname: "127.0.0.1", port, fetch: take });
  let server = listen();
  return {
    ...it,
    url: `http://127.0.0.1:${port}`,
    of: (traceId) => it.spans.filter((span) => span.traceId === traceId),
    answerWith: (next) => {
      status = next;
    },
    answerAfter: (ms) => {
      answersAfterMs = ms;
    },
    down: () => server.stop(true),
    up: () => {
      server = listen();
    },
  };
}

/** The attributes of a span by name. */
export const attributesOf = ({ attributes }: Received): Record<string, string | number> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, numberOrText(value)]));

const numberOrText = (value: Static<typeof values>) => {
  if ("stringValue" in value) return value.stringValue;
  return "intValue" in value ? Number(value.intValue) : value.doubleValue;
};
