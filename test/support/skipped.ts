/** Prints the last line of `bun run check`: skipped tests, and the programs to install for them. */
import { readFileSync } from "node:fs";

const skipped = process.argv
  .slice(2)
  .flatMap((report) => [
    ...readFileSync(report, "utf8").matchAll(/<testcase ([^>]*[^>/])>\s*<skipped/g),
  ])
  .flatMap(([, attributes = ""]) => /\(needs ([^)]+)\)/.exec(attributes)?.[1] ?? []);
const programs = [...new Set(skipped)].sort();
console.log(
  programs.length === 0
    ? "No test was skipped because a program is missing."
    : `Tests skipped because a program is missing: ${skipped.length}. To run them, install: ${programs.join(", ")}.`,
);
