/**
 * Writes db/migrations.ts and product/migrations.ts, so that the binary contains the migrations
 * that drizzle-kit wrote to drizzle/ and drizzle/product/. Run by `bun run db:generate` and `bun
 * run db:generate:product`.
 */
import { join } from "node:path";
import { Glob } from "bun";

const root = join(import.meta.dir, "../..");

interface Place {
  script: string;
  folder: string;
  file: string;
}

const places: Place[] = [
  { script: "db:generate", folder: "drizzle", file: "src/db/migrations.ts" },
  { script: "db:generate:product", folder: "drizzle/product", file: "src/product/migrations.ts" },
];

const nameOf = (tag: string) => `sql${tag.split("_", 1)}`;

function textOf({ script, folder }: Place): string {
  const tags = [...new Glob("*.sql").scanSync(join(root, folder))]
    .map((file) => file.replace(".sql", ""))
    .sort();
  const imports = tags.map(
    (tag) => `import ${nameOf(tag)} from "../../${folder}/${tag}.sql" with { type: "text" };`,
  );
  return [
    `// Written by \`bun run ${script}\`.`,
    ...imports,
    "",
    "export const migrations: { tag: string; sql: string }[] = [",
    ...tags.map((tag) => `  { tag: "${tag}", sql: ${nameOf(tag)} },`),
    "];",
    "",
  ].join("\n");
}

for (const place of places) await Bun.write(join(root, place.file), textOf(place));
