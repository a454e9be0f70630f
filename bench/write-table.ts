import { join } from "node:path";
import { replaceBlock } from "../docs/blocks.ts";

const page = join(import.meta.dir, "../docs/performance.md");

/** Replaces a block of docs/performance.md. */
export async function writeTable(block: "table" | "events", table: string): Promise<void> {
  await Bun.write(page, replaceBlock(await Bun.file(page).text(), block, [table]));
}
