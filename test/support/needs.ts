import { describe, test } from "bun:test";

/**
 * `describe` and `test` for tests that need a program of the machine. Without it they are skipped,
 * and their names say what to install. `bun run check` prints how many (skipped.ts).
 */
export function needs(program: string, isInstalled = Bun.which(program) !== null) {
  const named = (title: string) => (isInstalled ? title : `${title} (needs ${program})`);
  return {
    describe: (title: string, body: () => void) => describe.if(isInstalled)(named(title), body),
    test: (title: string, body: () => void | Promise<void>) =>
      test.if(isInstalled)(named(title), body),
  };
}
