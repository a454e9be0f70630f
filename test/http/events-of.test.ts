/** `eventsOf` of the typed client, behind a proxy that fails. */
import { expect, test } from "bun:test";
import { join } from "node:path";

// By a computed path: for the compiler, the module is the text that the server sends.
const { createClient, eventsOf } = await import(
  join(import.meta.dir, "../../src/http/bunker.client.js")
);

test("eventsOf survives the pages of a proxy, and waits as long as Retry-After says", async () => {
  const html = { "content-type": "text/html" };
  const sse = { "content-type": "text/event-stream" };
  const answers = [
    () => new Response("<p>Maintenance", { headers: html }),
    () => new Response("<p>Busy", { status: 429, headers: { ...html, "retry-after": "3" } }),
    () => new Response('id: 1\nevent: user.created\ndata: {"id":"1"}\n\n', { headers: sse }),
  ];
  const at: number[] = [];
  const proxy = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: () => {
      at.push(performance.now());
      return answers[at.length - 1]?.() ?? new Response(null, { status: 403 });
    },
  });
  const client = createClient(`http://127.0.0.1:${proxy.port}`);
  const ids: unknown[] = [];
  for await (const { id } of eventsOf(client)) {
    ids.push(id);
    break;
  }
  expect(ids).toEqual(["1"]);
  const [, second = 0, third = 0] = at;
  expect(third - second).toBeGreaterThan(2_900);
  await proxy.stop(true);
}, 20_000);
