/**
 * Writes migrations.ts, so that the binary contains the migrations that drizzle-kit wrote to
 * drizzle/. Run by `bun run db:generate`.
 */
import { join } from "node:path";
import { Glob } from "bun";

const root = join(import.meta.dir, "../..");
const tags = [...new Glob("*.sql").scanSync(join(root, "drizzle"))]
  .map((file) => file.replace(".sql", ""))
  .sort();
const nameOf = (tag: string) => `sql${tag.slice(0, 4)}`;
const lines = [
  "// Written by `bun run db:generate`.",
  ...tags.map(
    (tag) => `import ${nameOf(tag)} from "../../drizzle/${tag}.sql" with { type: "text" };`,
  ),
  "",
  "export interface Migration {",
  "  tag: string;",
  "  sql: string;",
  "}",
  "",
  "export const migrations: Migration[] = [",
  ...tags.map((tag) => `  { tag: "${tag}", sql: ${nameOf(tag)} },`),
  "];",
  "",
];
await Bun.write(join(root, "src/db/migrations.ts"), lines.join("\n"));
