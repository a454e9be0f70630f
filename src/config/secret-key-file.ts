import {
  closeSync,
  fchownSync,
  fsyncSync,
  linkSync,
  openSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { openDataDir, ownUid, readOwn } from "./data-dir.ts";

/**
 * Reads the secret key in the data directory `path`, or creates it. Processes that start at the
 * same time get the same key. `owner` is the OS user that owns the directory.
 */
export function readOrCreateSecretKey(path: string, owner = ownUid()): string {
  const file = join(openDataDir(path, owner), "secret_key");
  return (readOwn(file, owner) ?? createSecretKey(file, owner)).trim();
}

/** Writes a draft and links it to its name, so that other processes never read half a key. */
function createSecretKey(file: string, owner: number | undefined): string {
  const draft = `${file}.${crypto.randomUUID()}`;
  const fd = openSync(draft, "wx", 0o600);
  writeFileSync(fd, Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("hex"));
  if (owner !== undefined && owner !== ownUid()) fchownSync(fd, owner, owner);
  fsyncSync(fd);
  closeSync(fd);
  try {
    linkSync(draft, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    rmSync(draft, { force: true });
  }
  return readOwn(file, owner) ?? "";
}
