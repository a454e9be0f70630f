/** Delivery of spans to a receiver that decodes the protocol. */
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { setTimeout as sleep } from "node:timers/promises";
import { openOtlp } from "../../src/adapters/otlp.ts";
import { openDelivery } from "../../src/adapters/otlp-delivery.ts";
import type { Log } from "../../src/kit/log.ts";
import type { Tracing } from "../../src/kit/tracing.ts";
import { attributesOf, type Collector, collector } from "../support/collector.ts";

setDefaultTimeout(30_000);
const opened: { tracing: Tracing; traces: Collector }[] = [];
afterAll(async () => {
  for (const { tracing, traces } of opened.splice(0)) {
    await tracing.close();
    await traces.down();
  }
});

async function watch(headers: Record<string, string> = {}) {
  const traces = await collector();
  const lines: string[] = [];
  const say = (_: object, sentence: string) => lines.push(sentence);
  const log = { info: say, warn: say, error: say, debug: say } as unknown as Log;
  const options = { sample: 1, chance: () => 0, now: () => new Date(), headers, log };
  const tracing = openOtlp(new URL(traces.url), options);
  opened.push({ tracing, traces });
  const spans = (count: number) => {
    for (let each = 0; each < count; each += 1)
      tracing.begin({ name: `span ${each}` }, null, () => {});
  };
  return { traces, tracing, lines, spans };
}

const becomes = async (ms: number, isSo: () => boolean) => {
  const giveUpAt = performance.now() + ms;
  while (!isSo() && performance.now() < giveUpAt) await sleep(20);
  expect(isSo()).toBe(true);
};

test.concurrent("a tree of spans arrives with parents, attributes, times and errors", async () => {
  const { traces, tracing } = await watch({ authorization: "Basic YTpi" });
  const from = Date.now();
  const failing = tracing.begin({ name: "GET", kind: "server" }, null, async (span) => {
    span?.setName("GET /things");
    span?.setAttributes({ text: 'a "quoted" ✓\n', whole: 200, part: 0.5, nothing: undefined });
    await tracing.within({ name: "SELECT things", kind: "client" }, () => sleep(20));
    throw Object.assign(new Error("sentinel"), { code: "57P01" });
  });
  await expect(failing).rejects.toThrow("sentinel");
  await tracing.close();
  const [inner, outer] = traces.spans;
  if (!inner || !outer) throw new Error("Two spans were to come.");
  expect([inner.name, inner.kind, inner.traceId, inner.parentSpanId]).toEqual([
    "SELECT things",
    3,
    outer.traceId,
    outer.spanId,
  ]);
  expect([outer.name, outer.kind, outer.parentSpanId]).toEqual(["GET /things", 2, undefined]);
  expect(attributesOf(outer)).toEqual({
    text: 'a "quoted" ✓\n',
    whole: 200,
    part: 0.5,
    "error.type": "57P01",
  });
  expect([inner.status, outer.status]).toEqual([{}, { code: 2 }]);
  const [began, innerBegan, innerEnded, ended] = [
    outer.startTimeUnixNano,
    inner.startTimeUnixNano,
    inner.endTimeUnixNano,
    outer.endTimeUnixNano,
  ].map((nanos) => Number(BigInt(nanos) / 1_000n) / 1_000);
  expect([began, innerBegan, innerEnded, ended]).toEqual(
    [began, innerBegan, innerEnded, ended].toSorted((a = 0, b = 0) => a - b),
  );
  expect(began).toBeGreaterThanOrEqual(from - 1);
  expect(ended).toBeLessThanOrEqual(Date.now() + 1);
  expect(Number(innerEnded) - Number(innerBegan)).toBeGreaterThan(15);
  expect(traces.headers[0]?.get("authorization")).toBe("Basic YTpi");
  expect(traces.texts[0]).toContain('{"key":"service.name","value":{"stringValue":"bunker"}}');
  expect(traces.texts.join()).not.toContain("sentinel");
});

test.concurrent("many spans are sent at once, in batches of 512; few wait two seconds for others", async () => {
  const { traces, spans } = await watch();
  spans(1_100);
  await becomes(10_000, () => traces.spans.length === 1_024);
  expect(traces.texts.length).toBe(2);
  await becomes(10_000, () => traces.spans.length === 1_100);
  expect(traces.texts.length).toBe(3);
  spans(1);
  await becomes(10_000, () => traces.spans.length === 1_101);
});

test.concurrent.each([429, 502, 503, 504])(
  "a batch that is refused for now (%i) is retried, and arrives once",
  async (status) => {
    const { traces, spans, lines } = await watch();
    traces.answerWith(status);
    spans(600);
    await becomes(10_000, () => traces.texts.length === 1);
    spans(100);
    await sleep(300);
    expect(traces.texts.length).toBe(1);
    traces.answerWith(200);
    await becomes(10_000, () => traces.spans.length === 700);
    expect(new Set(traces.spans.map(({ spanId }) => spanId)).size).toBe(700);
    await becomes(10_000, () => lines.length === 2);
    expect(lines).toEqual([expect.stringMatching(/^Traces cannot/), "Traces are exported again."]);
  },
);

test.concurrent("retries slow down while batches are refused, however many spans arrive", async () => {
  const { traces, spans } = await watch();
  traces.answerWith(503);
  const until = performance.now() + 5_000;
  while (performance.now() < until) {
    spans(100);
    await sleep(100);
  }
  // At once, after two seconds, then after four more.
  expect(traces.texts.length).toBe(2);
});

test.concurrent.each([400, 401, 404, 307, 500])(
  "a batch that is refused for good (%i) is not retried, and later ones are sent",
  async (status) => {
    const { traces, spans, lines } = await watch();
    traces.answerWith(status);
    spans(600);
    await becomes(10_000, () => traces.texts.length === 1);
    await becomes(10_000, () => traces.texts.length === 2);
    traces.answerWith(200);
    spans(1);
    await becomes(10_000, () => traces.spans.length === 1);
    expect(traces.texts.length).toBe(3);
    await becomes(10_000, () => lines.length === 2);
    expect(lines[0]).toMatch(/refuses traces/);
  },
);

test.concurrent("4,096 spans wait for an unavailable receiver, and are sent when it is back", async () => {
  const { traces, spans, lines } = await watch();
  traces.answerWith(503);
  spans(10_000);
  await becomes(10_000, () => lines.length === 1);
  traces.answerWith(200);
  await becomes(15_000, () => traces.spans.length === 4_096);
  spans(1);
  await becomes(10_000, () => traces.spans.length === 4_097);
});

test.concurrent("spans that arrive during a slow delivery are sent as well", async () => {
  const { traces, spans } = await watch();
  traces.answerAfter(3_000);
  spans(5);
  await becomes(10_000, () => traces.texts.length === 1);
  spans(512);
  await becomes(10_000, () => traces.spans.length === 517);
  spans(1);
  await becomes(10_000, () => traces.spans.length === 518);
});

test.concurrent.each([
  ["refuses", 503, 0],
  ["never answers", 200, 60_000],
])(
  "a collector that %s delays no shutdown, and receives nothing after it",
  async (_, status, ms) => {
    const { traces, tracing, spans } = await watch();
    traces.answerWith(status);
    traces.answerAfter(ms);
    spans(600);
    const from = performance.now();
    await tracing.close();
    expect(performance.now() - from).toBeLessThan(4_000);
    const asked = traces.texts.length;
    spans(600);
    await sleep(5_000);
    expect(traces.texts.length).toBe(asked);
  },
);

test.concurrent("a batch is dropped after ten tries, and later ones arrive", async () => {
  const times: number[] = [];
  const arrived: string[] = [];
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: async (request) => {
      const body = await request.text();
      if (body.includes("poison")) times.push(performance.now());
      else arrived.push(body);
      return new Response(null, { status: body.includes("poison") ? 503 : 200 });
    },
  });
  const say = () => {};
  const delivery = openDelivery({
    url: server.url,
    headers: {},
    resource: [],
    log: { info: say, warn: say, error: say, debug: say },
    times: { deliverEveryMs: 50, retryMaxMs: 200 },
  });
  for (let each = 0; each < 600; each += 1) delivery.add(each === 0 ? '"poison"' : '"good"');
  await becomes(20_000, () => arrived.length > 0);
  await delivery.close();
  await server.stop(true);
  expect(times.length).toBe(10);
  const gaps = times.slice(1).map((at, each) => at - (times[each] ?? 0));
  for (const [each, least] of [50, 100, 200, 200].entries())
    expect(gaps[each]).toBeGreaterThanOrEqual(least - 5);
  expect(Math.max(...gaps)).toBeLessThan(1_000);
});
