import { join } from "node:path";
import { replaceBlock } from "../docs/blocks.ts";

const page = join(import.meta.dir, "../docs/performance.md");

/** Replaces the table in docs/performance.md. */
export async function writeTable(table: string): Promise<void> {
  await Bun.write(page, replaceBlock(await Bun.file(page).text(), "table", [table]));
}
