import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { world } from "../support/world.ts";

const root = join(import.meta.dir, "../..");
// `run check` builds them first; this file builds them if it runs alone.
if (!existsSync(join(root, "dist/client/bunker.d.ts.txt")))
  Bun.spawnSync([process.execPath, "src/build/declarations.ts"], { cwd: root });

const paths = ["/client/bunker.d.ts", "/client/bunker.js"];
const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

test("the client's files have a strong ETag of their contents, and are not sent twice", async () => {
  const { send } = await world();
  for (const path of paths) {
    const { status, body, headers } = await send("GET", path);
    const tag = `"${sha256(body)}"`;
    expect([path, status, headers.get("etag"), headers.get("cache-control")]).toEqual([
      path,
      200,
      tag,
      "no-cache",
    ]);
    for (const known of [tag, `W/${tag}`, `"other", ${tag}`, "*"]) {
      const again = await send("GET", path, { headers: { "if-none-match": known } });
      expect([path, known, again.status, again.body]).toEqual([path, known, 304, ""]);
      expect([again.headers.get("etag"), again.headers.get("cache-control")]).toEqual([
        tag,
        "no-cache",
      ]);
    }
    const other = await send("GET", path, { headers: { "if-none-match": '"other"' } });
    expect([other.status, other.body]).toEqual([200, body]);
  }
});

test("their media types let browsers and editors show them, and there are no other files", async () => {
  const { send } = await world();
  const types = paths.map(async (path) => (await send("GET", path)).headers.get("content-type"));
  expect(await Promise.all(types)).toEqual([
    "text/plain; charset=utf-8",
    "text/javascript; charset=utf-8",
  ]);
  for (const path of ["/client", "/client/bunker.ts", "/client/..%2fbunker.js"])
    expect([path, (await send("GET", path)).status]).toEqual([path, 404]);
  const posted = await send("POST", "/client/bunker.js");
  expect([posted.status, posted.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
});

test("the OpenAPI document has the hash of the types that are served", async () => {
  const { send } = await world();
  const { body } = await send("GET", "/client/bunker.d.ts");
  const document = (await send("GET", "/openapi.json")).body;
  expect(document["x-client-types-sha256"]).toBe(sha256(body));
});

test("the types are exactly what the document describes", async () => {
  const { send } = await world();
  const declared: string = (await send("GET", "/client/bunker.d.ts")).body;
  const { paths } = (await send("GET", "/openapi.json")).body;
  const operations = Object.values<object>(paths).flatMap((methods) => Object.keys(methods));
  const methods = declared.match(/^ *(?:.*\{ )?(get|post|put|patch|delete): \{/gm) ?? [];
  expect(methods.length).toBe(operations.length);
  expect(declared).not.toMatch(/mailbox|favicon|"validation"/);
});

test("they need two packages, which a client of Eden has, and nothing else", async () => {
  const { send } = await world();
  const found = paths.map(async (path) => {
    const { body } = await send("GET", path);
    return [...body.matchAll(/(?:from|import\()\s*"([^"]+)"/g)].map(([, name]) => name);
  });
  expect(await Promise.all(found)).toEqual([["@elysiajs/eden", "elysia"], ["@elysiajs/eden"]]);
});
