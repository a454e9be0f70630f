/** A product in a clone takes an upgrade of Bunker by git, and its database does so too. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { connect } from "../../src/db/db.ts";
import { command } from "../support/program.ts";
import { clientOf } from "./api.ts";
import { applyGuide, readGuide } from "./apply-guide.ts";
import { driveNotes } from "./notes.ts";
import { type Copy, cloneOf, commit, copyOfRepository, merge, openPlace } from "./scratch.ts";

setDefaultTimeout(300_000);

/** A later version of Bunker: a module with a table, its migration, and its docs. */
async function changeUpstream(upstream: Copy): Promise<void> {
  const edit = async (path: string, before: RegExp, after: string) => {
    const text = await upstream.read(path);
    expect(text).toMatch(before);
    await upstream.write(path, text.replace(before, after));
  };
  await upstream.write(
    "src/modules/labels/tables.ts",
    `import { pgTable, text } from "drizzle-orm/pg-core";
import { resourceColumns } from "../../db/columns.ts";

export const labels = pgTable("labels", { ...resourceColumns, name: text("name").notNull() });
`,
  );
  await edit("src/tables.ts", /^/, 'import { labels } from "./modules/labels/tables.ts";\n');
  await edit("src/tables.ts", /^export const tables = \[$/m, "$&\n  labels,");
  await edit("test/architecture.test.ts", /^const order = \[$/m, '$&\n  "labels",');
  upstream.run("node_modules/.bin/biome", "check", "--write");
  upstream.run("bun", "run", "db:generate", "add_labels");
  upstream.run("bun", "run", "docs");
  commit(upstream, "Labels");
}

test("a clone with a table of its own takes an upstream table by git, without a conflict", async () => {
  const upstream = copyOfRepository();
  const product = cloneOf(upstream);
  await applyGuide(product, await readGuide("add-a-resource.md"));
  commit(product, "Notes");

  const { place, env, serve } = await openPlace();
  const before = await serve([process.execPath, join(product.folder, "src/main.ts")]);
  const ada = await clientOf(before.url).register("old@example.com");
  const { body: note } = await ada.send("POST /api/v1/notes", { text: "before the upgrade" });
  await before.end("SIGTERM");

  await changeUpstream(upstream);
  merge(product);
  // What is printed from the code describes Bunker alone, so the product does not change it.
  product.run("bun", "run", "docs");
  expect(product.run("git", "status", "--porcelain", "--", ".", ":!node_modules")).toBe("");
  product.run("bun", "src/build/declarations.ts");
  product.run("bun", "run", "check:types");
  product.run("bun", "run", "check:lint");
  const parts = ["architecture", "db", "openapi"].map((name) => `test/${name}.test.ts`);
  product.run("bun", "test", "--timeout", "60000", "test/product", ...parts);
  product.run("bun", "run", "compile");

  const words = [join(product.folder, "dist/bunker")];
  const status = await command(["migrate", "status", "--json"], { env, words });
  const { pending, unknown, applied } = JSON.parse(status.out);
  expect([pending.length, unknown]).toEqual([1, []]);
  expect(applied.filter((tag: string) => tag.startsWith("product/"))).toHaveLength(1);
  const migrated = await command(["migrate", "--json"], { env, words });
  expect(JSON.parse(migrated.out)).toMatchObject({ applied_now: pending, pending: [] });

  const after = await serve(words);
  const client = clientOf(after.url);
  const again = await client.signIn("old@example.com");
  expect((await again(`GET /api/v1/notes/${note.id}`)).body).toEqual(note);
  await driveNotes(client);
  const sql = connect(place, { max: 1 });
  expect(await sql`select * from labels`).toHaveLength(0);
  await sql.end();
  await after.end("SIGTERM");
});
