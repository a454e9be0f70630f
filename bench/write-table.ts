import { join } from "node:path";

const page = join(import.meta.dir, "../docs/performance.md");
const TABLE = /(?<=<!-- table -->\n).*(?=\n<!-- end of table -->)/s;

/** Replaces the table in docs/performance.md. Throws an Error if the page has lost its marks. */
export async function writeTable(table: string): Promise<void> {
  const text = await Bun.file(page).text();
  if (!TABLE.test(text)) throw new Error("docs/performance.md has no table to replace");
  await Bun.write(
    page,
    text.replace(TABLE, () => table),
  );
}
