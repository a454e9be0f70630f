import { closeSync, constants, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { tryLock } from "./libc.ts";

/** Who holds a data directory. `url` is where a server answers. */
export interface Holder {
  pid: number;
  command: string;
  url: string;
  since: string;
}

const lockFile = (dataDir: string) => join(dataDir, "bunker.lock");

/**
 * Takes the data directory for this process, or answers false where another has it. The kernel lets go of the lock when
 * its holder dies, however it dies, so there is never a stale one to remove. Its file descriptor is closed on exec.
 */
export function tryHold(dataDir: string, holder: Holder): boolean {
  const fd = openSync(lockFile(dataDir), constants.O_RDWR | constants.O_CREAT, 0o600);
  if (!tryLock(fd)) {
    closeSync(fd);
    return false;
  }
  ftruncateSync(fd);
  writeSync(fd, JSON.stringify(holder));
  return true;
}

/** Undefined while the holder has not written its name yet. */
export function findHolder(dataDir: string): Holder | undefined {
  try {
    return JSON.parse(readFileSync(lockFile(dataDir), "utf8"));
  } catch {
    return undefined;
  }
}
