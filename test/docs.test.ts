import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { Glob } from "bun";
import { getTableConfig } from "drizzle-orm/pg-core";
import { documents } from "../docs/generate.ts";
import { growth } from "../docs/growth.ts";
import manifest from "../package.json" with { type: "json" };
import { version } from "../src/kit/build.ts";
import { tables } from "../src/tables.ts";

const root = join(import.meta.dir, "..");
const read = (path: string) => Bun.file(join(root, path)).text();

test("generated documents match the code; if not: bun run docs", async () => {
  for (const [path, text] of Object.entries(await documents())) expect(await read(path)).toBe(text);
});

test("what one caller can write is stated for every table", async () => {
  const names = tables.map((table) => getTableConfig(table).name);
  expect(Object.keys(growth).sort()).toEqual(names.sort());
});

test("the README names only commands that exist", async () => {
  const readme = await read("README.md");
  const named = [...readme.matchAll(/bun(?:@\d\S+)? run ([a-z:]+)/g)].map(
    (match) => match[1] ?? "",
  );
  expect(named.length).toBeGreaterThan(1);
  expect(named.filter((name) => !(name in manifest.scripts))).toEqual([]);
});

test("the README is at most 120 lines of 100 columns", async () => {
  for (const page of ["README.md", "docs/README.md"]) {
    const lines = (await read(page)).split("\n");
    expect(lines.length).toBeLessThanOrEqual(120);
    expect(lines.filter((line) => [...line].length > 100)).toEqual([]);
  }
});

const pages = ["*.md", "{docs,bench,deploy,test}/**/*.md"].flatMap((pattern) => [
  ...new Glob(pattern).scanSync(root),
]);

test("no line of prose in a document is longer than 100 columns", async () => {
  const long: string[] = [];
  for (const page of pages) {
    // Code and tables cannot be wrapped.
    const prose = (await read(page)).replaceAll(/^ *```.*?^ *```|^ *\|.*?$/gms, "");
    for (const line of prose.split("\n")) if ([...line].length > 100) long.push(`${page}: ${line}`);
  }
  expect(pages.length).toBeGreaterThan(20);
  expect(long).toEqual([]);
});

const headingId = (heading: string) =>
  heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
    .replaceAll(" ", "-");

async function leadsSomewhere(page: string, path: string, id: string | undefined) {
  const target = path === "" ? page : join(dirname(page), path);
  if (!existsSync(join(root, target))) return false;
  if (id === undefined || !target.endsWith(".md")) return true;
  const headings = [...(await read(target)).matchAll(/^#+ (.*)$/gm)];
  return headings.some(([, heading = ""]) => headingId(heading) === id);
}

test("the links of documents lead to files and headings that exist", async () => {
  const broken: string[] = [];
  for (const page of pages)
    for (const [link, path = "", id] of (await read(page)).matchAll(
      /\]\((?![a-z]+:)([^)#\s]*)(?:#([^)\s]+))?\)/g,
    ))
      if (!(await leadsSomewhere(page, path, id))) broken.push(`${page}: ${link}`);
  expect(broken).toEqual([]);
});

test("no comment is longer than 100 columns", async () => {
  const long: string[] = [];
  for (const file of new Glob("{src,test,bench,docs}/**/*.ts").scanSync(root)) {
    const lines = (await read(file)).split("\n");
    for (const [at, line] of lines.entries())
      if (/^\s*(\*|\/\/|\/\*)/.test(line) && [...line].length > 100) long.push(`${file}:${at + 1}`);
  }
  expect(long).toEqual([]);
});

test("every file that the documents name exists", async () => {
  const missing: string[] = [];
  for (const page of ["SECURITY.md", "ARCHITECTURE.md", "docs/reliability.md", "docs/sessions.md"])
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

test("the changelog has an entry for this version", async () => {
  expect(await read("CHANGELOG.md")).toContain(`## ${version}`);
});
