import {
  accessSync,
  chmodSync,
  closeSync,
  constants,
  existsSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  realpathSync,
  type Stats,
  statSync,
} from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { Exit, misconfigured } from "../kit/exit.ts";

/** The OS user of this process. Undefined on Windows, where files have no such owners and modes. */
export const ownUid = (): number | undefined => process.geteuid?.();

const ROOT = 0;
const STICKY = 0o1000;
const GROUP_CAN_WRITE = 0o020;
const OTHERS_CAN_WRITE = 0o002;
const READ_MAX_BYTES = 1 << 16;

interface Rule {
  isDirectory: boolean;
  /** Mode bits that the entry must not have, and the change that removes them. */
  forbidden: number;
  remedy: string;
  /** Bunker writes it, so it must have no other hard link, which may be elsewhere. */
  isWritten?: boolean;
  /** True if the OS user of PostgreSQL may own it, when Bunker runs as root. */
  mayBelongToDatabase?: boolean;
}
const secret: Rule = { isDirectory: false, forbidden: 0o077, remedy: "600" };
const file: Rule = { isDirectory: false, forbidden: 0o022, remedy: "go-w", isWritten: true };
const directory: Rule = { isDirectory: true, forbidden: 0o022, remedy: "go-w" };

/** The rule for an entry of the data directory that Bunker reads, writes or runs. */
function ruleOf(name: string): Rule | undefined {
  if (name === "secret_key") return secret;
  if (name === "bunker.lock" || name === "postgres.log") return file;
  if (name === "cluster") return { ...directory, mayBelongToDatabase: true };
  return name.startsWith("postgres-") ? directory : undefined;
}

/**
 * Creates the data directory if it is missing, and returns its real path. Throws an Exit if an OS
 * user other than `owner` can change or replace it, or could have written its contents.
 */
export function openDataDir(path: string, owner = ownUid()): string {
  try {
    if (owner !== undefined) refuse(faultsAbove(path, owner));
    const dataDir = makeDirectory(path);
    if (owner !== undefined)
      refuse([...faultsOf(dataDir, directory, owner), ...faultsWithin(dataDir, owner)]);
    accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK);
    return dataDir;
  } catch (error) {
    if (error instanceof Exit) throw error;
    const { code } = error as NodeJS.ErrnoException;
    throw misconfigured(`DATA_DIR: cannot create or write ${path} (${code}).`);
  }
}

function refuse(faults: string[]) {
  if (faults.length === 0) return;
  throw misconfigured(
    `DATA_DIR is not safe: another OS user can change it, or could have changed its contents.\n` +
      `${[...new Set(faults)].map((fault) => `  - ${fault}\n`).join("")}` +
      `Check the contents before you use them. Delete a secret key that another OS user may know.`,
  );
}

function makeDirectory(path: string): string {
  // If Bunker runs as root, PostgreSQL runs as another OS user, which must be able to enter.
  const mode = ownUid() === ROOT ? 0o711 : 0o700;
  const first = mkdirSync(path, { recursive: true, mode });
  if (first !== undefined) setModes(resolve(first), resolve(path), mode);
  return realpathSync(path);
}

/** Sets the mode from `first` down to `last`: the umask may have removed bits. */
function setModes(first: string, last: string, mode: number) {
  chmodSync(last, mode);
  if (last !== first) setModes(first, dirname(last), mode);
}

/** Faults of parent directories: an OS user that can rename a parent can replace the directory. */
function faultsAbove(path: string, owner: number): string[] {
  const isOther = (uid: number) => ![ROOT, ownUid(), owner].includes(uid);
  return lookupOf(resolve(path)).flatMap((above) => {
    const { uid, gid, mode } = statSync(above);
    // The owner of a symbolic link can replace it, even in a sticky directory.
    const other = [lstatSync(above).uid, uid].find(isOther);
    if (other !== undefined)
      return [`${above} belongs to uid ${other}, which can replace ${path}. Use another DATA_DIR.`];
    if ((mode & STICKY) !== 0) return [];
    if ((mode & OTHERS_CAN_WRITE) !== 0)
      return [
        `${above} can be written by every OS user (mode ${modeOf(mode)}). Run: chmod o-w ${quoted(above)}`,
      ];
    // On most systems, each OS user has a group of its own.
    const isOwnGroup = gid === process.getegid?.();
    return (mode & GROUP_CAN_WRITE) !== 0 && !isOwnGroup
      ? [
          `${above} can be written by group ${gid} (mode ${modeOf(mode)}). Run: chmod g-w ${quoted(above)}`,
        ]
      : [];
  });
}

/** Every existing directory and symbolic link on the way to `path`. */
function lookupOf(path: string): string[] {
  const parent = dirname(path);
  const above = parent === path ? [] : [...lookupOf(parent), parent];
  const target = linkTarget(path);
  const followed = target === undefined ? [] : [path, ...lookupOf(target)];
  return [...above, ...followed].filter(existsSync);
}

function linkTarget(path: string): string | undefined {
  const isLink = lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink();
  return isLink ? resolve(realpathSync(dirname(path)), readlinkSync(path)) : undefined;
}

const faultsWithin = (dataDir: string, owner: number): string[] =>
  readdirSync(dataDir).flatMap((name) => {
    const rule = ruleOf(name);
    return rule ? faultsOf(join(dataDir, name), rule, owner) : [];
  });

const faultsOf = (path: string, rule: Rule, owner: number) =>
  faultsIn(lstatSync(path), { path, rule, owner });

function faultsIn(
  stat: Stats,
  { path, rule, owner }: { path: string; rule: Rule; owner: number },
): string[] {
  if (rule.isDirectory ? !stat.isDirectory() : !stat.isFile())
    return [`${path} is not a ${rule.isDirectory ? "directory" : "regular file"}. Remove it.`];
  if (rule.isWritten && stat.nlink > 1)
    return [`${path} has a second name (a hard link). Remove it.`];
  const faults: string[] = [];
  const isOfDatabase = rule.mayBelongToDatabase && owner === ROOT;
  if (stat.uid !== owner && !isOfDatabase)
    faults.push(
      `${path} belongs to uid ${stat.uid}, not to uid ${owner}. Run: chown ${owner} ${quoted(path)}`,
    );
  if ((stat.mode & rule.forbidden) !== 0)
    faults.push(`${path} has mode ${modeOf(stat.mode)}. Run: chmod ${rule.remedy} ${quoted(path)}`);
  return faults;
}

const modeOf = (mode: number) => (mode & 0o7777).toString(8).padStart(4, "0");

const quoted = (path: string) =>
  /^[\w/.@:+-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`;

/** Follows no symbolic link. Throws an Exit if another OS user could have written the file. */
export function openOwn(path: string, flags: number, owner = ownUid()): number {
  const fd = openUnlinked(path, flags);
  try {
    const rule = ruleOf(basename(path)) ?? file;
    if (owner !== undefined) refuse(faultsIn(fstatSync(fd), { path, rule, owner }));
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function openUnlinked(path: string, flags: number): number {
  const { O_NOFOLLOW = 0, O_NONBLOCK = 0 } = constants;
  try {
    return openSync(path, flags | O_NOFOLLOW | O_NONBLOCK, 0o600);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ELOOP")
      refuse([`${path} is a symbolic link. Remove it.`]);
    throw error;
  }
}

/** Reads a short file. Undefined if there is none. */
export function readOwn(path: string, owner = ownUid()): string | undefined {
  let fd: number;
  try {
    fd = openOwn(path, constants.O_RDONLY, owner);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  try {
    const buffer = Buffer.alloc(READ_MAX_BYTES);
    return buffer.toString("utf8", 0, readSync(fd, buffer, 0, buffer.length, null));
  } finally {
    closeSync(fd);
  }
}
