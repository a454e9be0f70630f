/** `bun src/build/compile.ts` compiles the binary for this machine, `dist/bunker`. */
import { mkdtempSync, renameSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";

const root = join(import.meta.dir, "../..");

/**
 * Returns the paths of the files in the binary. `splitting` lets a command load only what it
 * imports. `sourcemap` gives stack traces in the log the lines of the sources.
 */
export async function compile(
  outfile: string,
  target?: Bun.Build.CompileTarget,
): Promise<string[]> {
  // On the same file system, for the rename: a running binary can be replaced but not overwritten.
  const folder = mkdtempSync(join(dirname(outfile), "compiling-"));
  try {
    const made = join(folder, basename(outfile));
    const { metafile } = await Bun.build({
      entrypoints: [join(root, "src/main.ts")],
      root,
      format: "esm",
      splitting: true,
      bytecode: true,
      sourcemap: "linked",
      metafile: true,
      compile: {
        outfile: made,
        autoloadDotenv: false,
        autoloadBunfig: false,
        ...(target ? { target } : {}),
      },
    });
    // The source maps stay in the folder, because the binary contains them.
    renameSync(made, outfile);
    return Object.keys(metafile?.inputs ?? {});
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

if (import.meta.main) await compile(join(root, "dist/bunker"));
