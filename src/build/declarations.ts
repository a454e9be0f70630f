/**
 * Build step: writes `dist/eden/bunker.d.ts`, the type of the whole API in one file, for clients that use Eden. It needs
 * `elysia` beside it, and none of our source.
 */
import { join } from "node:path";

const root = join(import.meta.dir, "../..");
const done = Bun.spawnSync([process.execPath, "x", "tsc", "-p", import.meta.dir], {
  cwd: root,
  stdout: "inherit",
  stderr: "inherit",
});
if (!done.success) process.exit(1);

const declared = await Bun.file(join(root, "dist/declarations/app.d.ts")).text();
const rolled = declared
  // Only the server builds the app, and only there do its guards hold an actor: neither is of use to a client.
  .replace('import type { Ctx } from "./ctx.ts";\n', "")
  .replace("createApp: (ctx: Ctx) =>", "createApp: () =>")
  .replaceAll(
    /import\("\.\/(?:http\/(?:guard|headers|visit)|kit\/limits|ctx)\.ts"\)\.\w+/g,
    "unknown",
  );
const stray = /(?:from|import\()\s*"(\.[^"]+)"/.exec(rolled)?.[1];
if (stray) throw new Error(`the declarations still need ${stray}`);
await Bun.write(join(root, "dist/eden/bunker.d.ts"), rolled);
