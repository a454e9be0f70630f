import { expect, test } from "bun:test";
import { join } from "node:path";
import { documents } from "../docs/generate.ts";
import manifest from "../package.json" with { type: "json" };
import { version } from "../src/kit/build.ts";

const root = join(import.meta.dir, "..");
const read = (path: string) => Bun.file(join(root, path)).text();

test("what is printed from the code is as committed; if not: bun run docs", async () => {
  for (const [path, text] of Object.entries(await documents())) expect(await read(path)).toBe(text);
});

test("the README speaks of commands that exist", async () => {
  const readme = await read("README.md");
  const named = [...readme.matchAll(/bun(?:@\d\S+)? run ([a-z:]+)/g)].map(
    (match) => match[1] ?? "",
  );
  expect(named.length).toBeGreaterThan(1);
  expect(named.filter((name) => !(name in manifest.scripts))).toEqual([]);
});

test("the changelog tells of this version", async () => {
  expect(await read("CHANGELOG.md")).toContain(`## ${version}`);
});
