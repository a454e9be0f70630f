import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Glob } from "bun";
import { getTableConfig } from "drizzle-orm/pg-core";
import { documents } from "../docs/generate.ts";
import { growth } from "../docs/growth.ts";
import manifest from "../package.json" with { type: "json" };
import { version } from "../src/kit/build.ts";
import { tables } from "../src/tables.ts";

const root = join(import.meta.dir, "..");
const read = (path: string) => Bun.file(join(root, path)).text();

test("what is printed from the code is as committed; if not: bun run docs", async () => {
  for (const [path, text] of Object.entries(await documents())) expect(await read(path)).toBe(text);
});

test("what one caller can write is stated for every table", async () => {
  const names = tables.map((table) => getTableConfig(table).name);
  expect(Object.keys(growth).sort()).toEqual(names.sort());
});

test("the README speaks of commands that exist", async () => {
  const readme = await read("README.md");
  const named = [...readme.matchAll(/bun(?:@\d\S+)? run ([a-z:]+)/g)].map(
    (match) => match[1] ?? "",
  );
  expect(named.length).toBeGreaterThan(1);
  expect(named.filter((name) => !(name in manifest.scripts))).toEqual([]);
});

test("the README is at most 120 lines of 100 columns, and its links lead somewhere", async () => {
  for (const page of ["README.md", "docs/README.md"]) {
    const text = await read(page);
    expect(text.split("\n").length).toBeLessThanOrEqual(120);
    expect(text.split("\n").filter((line) => [...line].length > 100)).toEqual([]);
    const links = [...text.matchAll(/\]\((?!https?:)([^)#]+)/g)].map(([, link = ""]) => link);
    expect(links.filter((link) => !existsSync(join(root, page, "..", link)))).toEqual([]);
  }
});

test("no comment of the program, its benchmarks and its documents is longer than 100 columns", async () => {
  const long: string[] = [];
  for (const file of new Glob("{src,bench,docs}/**/*.ts").scanSync(root)) {
    const lines = (await read(file)).split("\n");
    for (const [at, line] of lines.entries())
      if (/^\s*(\*|\/\/|\/\*)/.test(line) && [...line].length > 100) long.push(`${file}:${at + 1}`);
  }
  expect(long).toEqual([]);
});

test("what the documents point at is there", async () => {
  const missing: string[] = [];
  for (const page of ["SECURITY.md", "ARCHITECTURE.md", "docs/reliability.md", "docs/access.md"])
    for (const [, path = ""] of (await read(page)).matchAll(
      /`((?:test|src|bench|docs|deploy)\/[\w./-]+)`/g,
    ))
      if (!existsSync(join(root, path))) missing.push(`${page}: ${path}`);
  expect(missing).toEqual([]);
});

test("ARCHITECTURE.md names only files of src that exist", async () => {
  const paths = [...(await read("ARCHITECTURE.md")).matchAll(/`([a-z-]+\/[\w/-]+\.ts)`/g)]
    .map(([, path = ""]) => path)
    .filter((path) => !/^(test|src|bench|docs)\//.test(path));
  expect(paths.length).toBeGreaterThan(20);
  expect(paths.filter((path) => !existsSync(join(root, "src", path)))).toEqual([]);
});

test("the changelog tells of this version", async () => {
  expect(await read("CHANGELOG.md")).toContain(`## ${version}`);
});
