import { closeSync, constants, ftruncateSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { openOwn, readOwn } from "../../config/data-dir.ts";
import { tryLock } from "./libc.ts";

/** Who holds a data directory. `url` is where a server answers. */
export interface Holder {
  pid: number;
  command: string;
  url: string;
  since: string;
}

export interface DataDir {
  dataDir: string;
  /** The account that it belongs to. */
  owner: number | undefined;
}

const lockFile = (dataDir: string) => join(dataDir, "bunker.lock");

/**
 * Takes the data directory for this process, or answers false where another has it. The kernel lets go of the lock when
 * its holder dies, however it dies, so there is never a stale one to remove. Its file descriptor is closed on exec.
 */
export function tryHold({ dataDir, owner }: DataDir, holder: Holder): boolean {
  const fd = openOwn(lockFile(dataDir), constants.O_RDWR | constants.O_CREAT, owner);
  if (!tryLock(fd)) {
    closeSync(fd);
    return false;
  }
  ftruncateSync(fd);
  writeSync(fd, JSON.stringify(holder));
  return true;
}

/** Whether a process has the data directory. Asks without writing, because it may belong to another account. */
export function isHeld(dataDir: string): boolean {
  try {
    const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
    const fd = openSync(lockFile(dataDir), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    try {
      return !tryLock(fd);
    } finally {
      closeSync(fd);
    }
  } catch {
    return false;
  }
}

/** Undefined while the holder has not written its name yet. */
export function findHolder({ dataDir, owner }: DataDir): Holder | undefined {
  try {
    return JSON.parse(readOwn(lockFile(dataDir), owner) ?? "");
  } catch {
    return undefined;
  }
}
