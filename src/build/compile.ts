/**
 * `bun src/build/compile.ts`: the binary for this machine, in `dist/bunker`. What it needs beside the sources, `bun run build`
 * makes before.
 */
import { mkdtempSync, renameSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";

const root = join(import.meta.dir, "../..");

/**
 * Compiles a binary, and returns the files that it was made of, by their paths from the root of the project. Throws an
 * AggregateError. Only what a command imports is loaded (`splitting`); stack traces in the log name lines of the sources.
 */
export async function compile(
  outfile: string,
  target?: Bun.Build.CompileTarget,
): Promise<string[]> {
  // On the same file system, since what is running cannot be overwritten, but can be replaced.
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
    // The binary has the source maps, which are left in the folder, inside as well.
    renameSync(made, outfile);
    return Object.keys(metafile?.inputs ?? {});
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

if (import.meta.main) await compile(join(root, "dist/bunker"));
