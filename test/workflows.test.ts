/**
 * The GitHub workflows of this repository. actionlint and zizmor check them there; these are the
 * rules that must hold.
 */
import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const folder = join(import.meta.dir, "../.github/workflows");
interface Job {
  permissions?: object;
  "timeout-minutes"?: number;
  strategy?: { matrix: { include?: { target?: string }[] } };
  steps: { uses?: string; run?: string; with?: Record<string, unknown> }[];
}
const workflows = readdirSync(folder).map((file) => {
  const text = readFileSync(join(folder, file), "utf8");
  return {
    file,
    text,
    it: Bun.YAML.parse(text) as { permissions: object; jobs: Record<string, Job> },
  };
});
const jobs = workflows.flatMap(({ file, it }) =>
  Object.entries(it.jobs).map(([name, job]) => ({ name: `${file} ${name}`, job })),
);

test("every action is pinned by its commit, or an image by its digest", () => {
  const used = workflows.flatMap(({ text }) => text.match(/uses: .*/g) ?? []);
  expect(used.length).toBeGreaterThan(10);
  const pinned =
    /^uses: (?:[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+|docker:\/\/\S+@sha256:[0-9a-f]{64})$/;
  expect(used.filter((line) => !pinned.test(line))).toEqual([]);
});

test("a workflow has no permissions, and each job only those that it names, for a bounded time", () => {
  for (const { it } of workflows) expect(it.permissions).toEqual({});
  expect(jobs.filter(({ job }) => !job.permissions || !job["timeout-minutes"])).toEqual([]);
});

test("no job keeps its credentials, and no script contains values that others write", () => {
  for (const { job } of jobs)
    for (const { uses, run, with: given } of job.steps) {
      if (uses?.startsWith("actions/checkout@")) expect(given?.["persist-credentials"]).toBe(false);
      expect(run ?? "").not.toContain("${{");
    }
});

test("each binary of a release is tried on a machine of its kind", async () => {
  const release = workflows.find(({ file }) => file === "release.yml");
  const tried = release?.it.jobs["try"]?.strategy?.matrix.include?.map(({ target }) => target);
  const source = readFileSync(join(import.meta.dir, "../src/build/release.ts"), "utf8");
  const built = [...source.matchAll(/^ {2}"([a-z]+-[a-z0-9]+)": \{/gm)].map(([, name]) => name);
  expect(built.length).toBe(4);
  expect(tried?.map((target) => target?.replace(".exe", "")).toSorted()).toEqual(built.toSorted());
});
