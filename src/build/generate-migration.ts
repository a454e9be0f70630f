/**
 * `bun run db:generate NAME` and `bun run db:generate:product NAME`: drizzle-kit writes a migration
 * for what changed in the tables. Then this lists all migrations for the binary. Without a name,
 * drizzle-kit makes one up.
 */
import { join } from "node:path";
import { $, Glob } from "bun";

const root = join(import.meta.dir, "../..");

interface Place {
  script: string;
  config: string;
  folder: string;
  file: string;
}

const bunker: Place = {
  script: "db:generate",
  config: "drizzle.config.ts",
  folder: "drizzle",
  file: "src/db/migrations.ts",
};
const product: Place = {
  script: "db:generate:product",
  config: "drizzle.product.config.ts",
  folder: "drizzle/product",
  file: "src/product/migrations.ts",
};

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

const words = Bun.argv.slice(2);
const place = words.includes("--product") ? product : bunker;
const name = words.find((word) => !word.startsWith("--"));
const named = name ? ["--name", name] : [];
const { exitCode } = await $`drizzle-kit generate --config ${place.config} ${named}`
  .cwd(root)
  .nothrow();
if (exitCode !== 0) process.exit(exitCode);
await Bun.write(join(root, place.file), textOf(place));
