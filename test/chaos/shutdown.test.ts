/** Slow clients do not delay the shutdown. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { setTimeout as sleep } from "node:timers/promises";
import { DRAIN_MAX_MS } from "../../src/server/reload.ts";
import { serve, usedFolder } from "../support/program.ts";
import { drip } from "../support/slow-client.ts";

setDefaultTimeout(120_000);

const HOST = "Host: localhost\r\n";
const LENGTH = "Content-Length: 4000\r\n\r\n{";
const slow = [
  `GET /livez HTTP/1.1\r\n${HOST}X-Slow: `,
  `GET /livez HTTP/1.1\r\n${HOST}\r\nGET /livez HTTP/1.1\r\nX-Slow: `,
  `POST /nothing HTTP/1.1\r\n${HOST}${LENGTH}`,
  `POST /nothing HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\nfff\r\n{`,
  `DELETE /api/v1/users/me/sessions HTTP/1.1\r\n${HOST}${LENGTH}`,
  `GET /livez HTTP/1.1\r\n${HOST}${LENGTH}`,
];

test("heads, and bodies that no route reads, do not delay it while they arrive byte by byte", async () => {
  const server = await serve({ cwd: await usedFolder() });
  const clients = slow.map((text) => drip(Number(new URL(server.url).port), text));
  await sleep(2_500);
  const from = performance.now();
  expect(await server.end("SIGTERM")).toBe(0);
  expect(performance.now() - from).toBeLessThan(DRAIN_MAX_MS / 2);
  await Promise.all(clients.map(({ closed }) => closed));
});
