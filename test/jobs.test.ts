import { expect, test } from "bun:test";
import { startJobs } from "../src/jobs.ts";
import { until } from "./support/until.ts";
import { world } from "./support/world.ts";

test("a job never runs twice at once, and is logged once while it fails", async () => {
  const { ctx, logged } = await world();
  let running = 0;
  let most = 0;
  let failures = 0;
  const slow = async () => {
    running += 1;
    most = Math.max(most, running);
    await Bun.sleep(40);
    running -= 1;
    return 0;
  };
  const failing = async () => {
    failures += 1;
    throw new Error("the database is unavailable");
  };
  const stop = startJobs(ctx, {
    slow: { everyMs: 5, isUrgent: true, run: slow },
    failing: { everyMs: 5, isUrgent: true, run: failing },
  });
  while (failures < 4) await Bun.sleep(5);
  await Bun.sleep(60);
  await stop();
  expect(most).toBe(1);
  expect(logged.map(({ sentence }) => sentence)).toEqual(["Job failed; retrying."]);
});

test("under load, a job that is woken by events does one part twice a second", async () => {
  const { ctx } = await world();
  let parts = 0;
  const run = async () => {
    parts += 1;
    await Bun.sleep(1);
    return 1;
  };
  for (let count = 0; count < 8; count += 1) ctx.load.addRequest(1);
  const from = performance.now();
  const stop = startJobs(ctx, {
    follow: { everyMs: 10_000, isUrgent: true, isWokenByEvents: true, run },
  });
  await until(() => parts >= 4);
  expect(performance.now() - from).toBeGreaterThan(1_400);
  for (let count = 0; count < 8; count += 1) ctx.load.addRequest(-1);
  await until(() => parts > 100);
  await stop();
});
