/** The trace collector becomes unavailable, then available again. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { setTimeout as sleep } from "node:timers/promises";
import { collector } from "../support/collector.ts";
import { serve, usedFolder } from "../support/program.ts";

setDefaultTimeout(60_000);
const END_MAX_MS = 5_000;

test("Bunker starts, serves and logs the outage once, even without traced requests, and recovers", async () => {
  const traces = await collector();
  await traces.down();
  const env = { OTLP_URL: traces.url, TRACE_SAMPLE: "0" };
  const server = await serve({ cwd: await usedFolder(), env });
  const says = (sentence: string) => server.said.err.split(sentence).length - 1;
  const until = async (sentence: string) => {
    while (says(sentence) === 0) await sleep(50);
  };
  await until("Traces cannot be delivered");
  await sleep(3_000);
  expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
  traces.up();
  await until("Traces are exported again");
  expect([says("Traces cannot be delivered"), says("Traces are exported again")]).toEqual([1, 1]);
  expect(traces.spans.map(({ name }) => name)).toContain("start");

  await traces.down();
  const headers = { traceparent: `00-${"4".repeat(32)}-00f067aa0ba902b7-01` };
  await fetch(`${server.url}/api/v1/users/me`, { headers });
  const from = performance.now();
  expect(await server.end("SIGTERM")).toBe(0);
  expect(performance.now() - from).toBeLessThan(END_MAX_MS);
});
