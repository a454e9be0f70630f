import { expect, test } from "bun:test";
import { createApp } from "../../src/app.ts";
import { world } from "../support/world.ts";

test("a 503 of a health check has Retry-After", async () => {
  const { ctx } = await world();
  const app = createApp({
    ...ctx,
    lifecycle: { isStopping: true },
  });
  for (const path of ["/readyz", "/readyz/server"]) {
    const answer = await app.handle(new Request(`http://localhost${path}`));
    expect([path, answer.status, answer.headers.get("retry-after")]).toEqual([path, 503, "2"]);
  }
  const ready = await createApp(ctx).handle(new Request("http://localhost/readyz"));
  expect([ready.status, ready.headers.get("retry-after")]).toEqual([200, null]);
});
