import { freePort } from "./program.ts";

/** A span as OTLP has it in JSON (opentelemetry-proto, trace/v1): ids in hexadecimal, times in nanoseconds as text. */
export interface Received {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  kind: number;
  startTimeUnixNano: string;
  endTimeUnixNano: string;
  attributes: { key: string; value: { stringValue?: string; intValue?: number } }[];
  status: { code: number };
}

interface Delivery {
  resourceSpans: {
    resource: { attributes: Received["attributes"] };
    scopeSpans: { spans: Received[] }[];
  }[];
}

export interface Collector {
  url: string;
  spans: Received[];
  /** All that came, as it came. */
  texts: string[];
  headers: Headers[];
  of: (traceId: string) => Received[];
  down: () => Promise<void>;
  up: () => void;
}

/** Takes traces by OTLP over HTTP, as an OpenTelemetry collector does. */
export async function collector(): Promise<Collector> {
  const port = await freePort();
  const it: Pick<Collector, "spans" | "texts" | "headers"> = { spans: [], texts: [], headers: [] };
  const listen = () =>
    Bun.serve({
      hostname: "127.0.0.1",
      port,
      fetch: async (request) => {
        const isRight =
          request.method === "POST" &&
          new URL(request.url).pathname === "/v1/traces" &&
          request.headers.get("content-type") === "application/json";
        if (!isRight) return new Response(null, { status: 400 });
        const body = await request.text();
        const { resourceSpans } = JSON.parse(body) as Delivery;
        it.headers.push(request.headers);
        it.texts.push(body);
        for (const { scopeSpans } of resourceSpans)
          for (const { spans } of scopeSpans) it.spans.push(...spans);
        return Response.json({ partialSuccess: {} });
      },
    });
  let server = listen();
  return {
    ...it,
    url: `http://127.0.0.1:${port}`,
    of: (traceId) => it.spans.filter((span) => span.traceId === traceId),
    down: () => server.stop(true),
    up: () => {
      server = listen();
    },
  };
}

/** A span's attributes by name. */
export const attributesOf = ({
  attributes,
}: Received): Record<string, string | number | undefined> =>
  Object.fromEntries(
    attributes.map(({ key, value }) => [key, value.stringValue ?? value.intValue]),
  );
