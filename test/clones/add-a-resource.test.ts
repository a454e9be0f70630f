/** docs/add-a-resource.md, applied to a copy of the repository exactly as it stands there. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { connect } from "../../src/db/db.ts";
import { clientOf } from "./api.ts";
import { applyGuide, linesOfCode, readGuide } from "./apply-guide.ts";
import { driveNotes } from "./notes.ts";
import { copyOfRepository, openPlace } from "./scratch.ts";

setDefaultTimeout(300_000);

const guide = await readGuide("add-a-resource.md");
const MODULE = "src/product/notes/";
const LINES_MAX = 110;

test(`the resource of the guide is one folder of 4 files with at most ${LINES_MAX} lines`, async () => {
  const copy = copyOfRepository();
  const parts = [...guide.files].filter(([path]) => path.startsWith(MODULE));
  const names = parts.map(([path]) => path.slice(MODULE.length)).toSorted();
  expect(names).toEqual(["model.ts", "notes.ts", "routes.ts", "tables.ts"]);
  const counts = parts.map(([path, text]) => ({ path, count: linesOfCode(text).length }));
  const total = counts.reduce((sum, { count }) => sum + count, 0);
  const lists = [...guide.files].filter(([path]) => /^src\/product\/[\w-]+\.ts$/.test(path));
  const added: string[] = [];
  for (const [path, text] of lists) {
    const before = new Set(linesOfCode(await copy.read(path)));
    added.push(...linesOfCode(text).filter((line) => !before.has(line)));
  }
  for (const { path, count } of counts) console.log(`${String(count).padStart(4)} ${path}`);
  console.log(`${String(total).padStart(4)} lines of code in the module, at most ${LINES_MAX}`);
  console.log(`${String(added.length).padStart(4)} lines in ${lists.length} lists`);
  expect(total).toBeLessThanOrEqual(LINES_MAX);
});

test("a copy with the resource of the guide type-checks, lints, and does what the guide says", async () => {
  const copy = copyOfRepository();
  await applyGuide(copy, guide);
  expect(guide.commands).toEqual([
    "bun run db:generate:product add_notes",
    "bun test test/product",
    "bun run check",
  ]);
  copy.run("bun", "src/build/declarations.ts");
  expect(await copy.read("dist/client/bunker.d.ts")).toContain("notes: {");
  // The parts of `bun run check` that a new resource can fail.
  copy.run("bun", "run", "check:types");
  copy.run("bun", "run", "check:lint");
  const names = ["architecture", "db", "docs", "openapi", "http/headers"];
  const parts = [...names, "modules/disclosure-by-token"].map((it) => `test/${it}.test.ts`);
  copy.run("bun", "test", "--timeout", "60000", "test/product", ...parts);

  const { place, serve } = await openPlace();
  const server = await serve([process.execPath, join(copy.folder, "src/main.ts")]);
  const client = clientOf(server.url);
  const { adaId, eveId } = await driveNotes(client);
  const sql = connect(place, { max: 1 });
  const owners = async () =>
    (await sql`select distinct owner_id from product_notes`).map((row) => row["owner_id"]);
  expect((await owners()).toSorted()).toEqual([adaId, eveId].toSorted());
  const ada = await client.signIn("ada@example.com");
  expect((await ada("DELETE /api/v1/users/me")).status).toBe(204);
  expect(await owners()).toEqual([eveId]);
  await sql.end();
  await server.end("SIGTERM");
});
