/** Copies of this repository, to change them as in a clone. */
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { atTheEnd, freshDatabase, urlOf } from "../support/postgres.ts";
import { type Serving, serve } from "../support/program.ts";

const root = join(import.meta.dir, "../..");

export interface Copy {
  folder: string;
  /**
   * Runs a program in the folder. Returns its output; throws with all of it if the program fails.
   */
  run: (program: string, ...args: string[]) => string;
  write: (path: string, text: string) => Promise<unknown>;
  read: (path: string) => Promise<string>;
}

export function copyAt(folder: string): Copy {
  const run = (program: string, ...args: string[]) => {
    const file = program === "bun" ? process.execPath : program;
    try {
      return execFileSync(file, args, { cwd: folder, encoding: "utf8", stdio: "pipe" });
    } catch (error) {
      const { stdout, stderr } = error as Record<"stdout" | "stderr", string>;
      throw new Error(`${program} ${args.join(" ")}\n${stdout}\n${stderr}`);
    }
  };
  return {
    folder,
    run,
    write: (path, text) => Bun.write(join(folder, path), text),
    read: (path) => Bun.file(join(folder, path)).text(),
  };
}

/** An empty folder that is deleted after the tests. */
export function scratchFolder(): string {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), "bunker-clone-"));
  atTheEnd(async () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A copy of every file that git knows or would add, as a repository with one commit. */
export function copyOfRepository(): Copy {
  const copy = copyAt(join(scratchFolder(), "bunker"));
  const listed = execFileSync("git", ["ls-files", "-co", "--exclude-standard", "-z"], {
    cwd: root,
    encoding: "utf8",
  });
  for (const path of listed.split("\0").filter((it) => it !== "")) {
    mkdirSync(dirname(join(copy.folder, path)), { recursive: true });
    cpSync(join(root, path), join(copy.folder, path));
  }
  copy.run("git", "init", "--quiet", "--initial-branch=main");
  addBuildInputs(copy);
  commit(copy, "Bunker");
  return copy;
}

/** A clone by git, with what `bun run start` would install and pack. */
export function cloneOf({ folder }: Copy): Copy {
  const clone = copyAt(join(scratchFolder(), "product"));
  execFileSync("git", ["clone", "--quiet", folder, clone.folder]);
  addBuildInputs(clone);
  return clone;
}

/** What installing and packing would make: the same as here. */
function addBuildInputs({ folder }: Copy): void {
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  for (const name of ["embedded", "client"])
    cpSync(join(root, "dist", name), join(folder, "dist", name), { recursive: true });
}

const WHO = ["-c", "user.name=Test", "-c", "user.email=test@example.com"];

export function commit({ run }: Copy, title: string): void {
  // Excludes what a .gitignore of folders does not match: node_modules is a link here.
  run("git", "add", "--all", "--", ".", ":!node_modules");
  run("git", ...WHO, "commit", "--quiet", "--message", title);
}

/** Fails if git meets a conflict. */
export const merge = ({ run }: Copy): string =>
  run("git", ...WHO, "pull", "--quiet", "--no-rebase", "--no-edit", "origin", "main");

/** A database for the servers of copies, and how to start them on it. */
export async function openPlace() {
  const place = await freshDatabase("empty");
  const env = {
    BUNKER_ENV: "development",
    DATABASE_URL: urlOf(place, "bunker"),
    SECRET_KEY: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
  };
  return {
    place,
    env,
    serve: (words: string[]): Promise<Serving> => serve({ env, words, cwd: scratchFolder() }),
  };
}
