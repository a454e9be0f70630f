import { closeSync, constants, ftruncateSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { openOwn, readOwn } from "../../config/data-dir.ts";
import { tryLock } from "./libc.ts";

/** The process that has the lock on a data directory. `url` is where its server listens. */
export interface LockHolder {
  pid: number;
  command: string;
  url: string;
  since: string;
}

export interface DataDir {
  dataDir: string;
  /** The OS user that owns it. */
  owner: number | undefined;
}

const lockFile = (dataDir: string) => join(dataDir, "bunker.lock");

/**
 * Returns false if another process has the lock. The kernel releases it when its holder ends for
 * any reason, so a stale lock cannot exist. Exec closes the file descriptor.
 */
export function tryLockDataDir({ dataDir, owner }: DataDir, holder: LockHolder): boolean {
  const fd = openOwn(lockFile(dataDir), constants.O_RDWR | constants.O_CREAT, owner);
  if (!tryLock(fd)) {
    closeSync(fd);
    return false;
  }
  ftruncateSync(fd);
  writeSync(fd, JSON.stringify(holder));
  return true;
}

/** Writes nothing, because the directory may belong to another OS user. */
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

/** Undefined if the holder has not written its entry yet. */
export function findLockHolder({ dataDir, owner }: DataDir): LockHolder | undefined {
  try {
    return JSON.parse(readOwn(lockFile(dataDir), owner) ?? "");
  } catch {
    return undefined;
  }
}
