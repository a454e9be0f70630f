/** Type-checks the TypeScript files of each guide, as a reader's strict project does. */
import { afterAll, expect, test } from "bun:test";
import { cpSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { blocksOf, guidePages } from "../support/guide.ts";

const root = join(import.meta.dir, "../..");
// Below the repository, so that its packages are found.
const folder = join(root, "dist/guide-types");
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const options = {
  strict: true,
  noEmit: true,
  skipLibCheck: true,
  module: "preserve",
  target: "esnext",
  lib: ["esnext", "dom", "dom.iterable"],
  types: ["bun-types"],
  allowImportingTsExtensions: true,
  paths: { "@/*": ["./*"] },
};

for (const page of guidePages()) {
  const files = blocksOf(page).filter(({ language, file }) => language === "ts" && file);
  if (files.length === 0) continue;
  test(`the TypeScript of ${page} compiles`, () => {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    const client = join(root, "dist/client");
    if (existsSync(client)) cpSync(client, folder, { recursive: true });
    for (const { file = "", text } of files) {
      mkdirSync(join(folder, dirname(file)), { recursive: true });
      writeFileSync(join(folder, file), text);
    }
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions: options }));
    const { stdout } = Bun.spawnSync([join(root, "node_modules/.bin/tsc"), "-p", folder]);
    expect(stdout.toString()).toBe("");
  });
}
