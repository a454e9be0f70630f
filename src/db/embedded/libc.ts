import { dlopen, type Pointer, ptr, read } from "bun:ffi";
import { constants } from "node:os";

/**
 * Calls of glibc that Bun does not offer. Loaded at the first use: an external database needs none.
 * On failure, a call returns -1 and sets errno.
 */
const open = () =>
  dlopen("libc.so.6", {
    flock: { args: ["i32", "i32"], returns: "i32" },
    setsid: { args: [], returns: "i32" },
    prctl: { args: ["i32", "u64", "u64", "u64", "u64"], returns: "i32" },
    setgroups: { args: ["u64", "ptr"], returns: "i32" },
    setgid: { args: ["u32"], returns: "i32" },
    setuid: { args: ["u32"], returns: "i32" },
    syncfs: { args: ["i32"], returns: "i32" },
    execve: { args: ["ptr", "ptr", "ptr"], returns: "i32" },
    __errno_location: { args: [], returns: "ptr" },
  }).symbols;
let opened: ReturnType<typeof open> | undefined;
const libc = () => {
  opened ??= open();
  return opened;
};

const LOCK_EX_NB = 2 | 4;
const PR_SET_PDEATHSIG = 1;
const EWOULDBLOCK = 11;

const errno = () => read.i32(libc().__errno_location() as Pointer);

function checked(answer: number, call: string): void {
  if (answer < 0) throw new Error(`${call} failed with errno ${errno()}`);
}

/** Takes an exclusive lock (flock(2)), if no other process has it. The kernel releases it. */
export function tryLock(fd: number): boolean {
  if (libc().flock(fd, LOCK_EX_NB) === 0) return true;
  const code = errno();
  if (code !== EWOULDBLOCK) throw new Error(`flock failed with errno ${code}`);
  return false;
}

/** Writes all changes of the file system of `fd` to its disk (syncfs(2)). */
export const syncFileSystem = (fd: number) => checked(libc().syncfs(fd), "syncfs");

/** Starts a session (setsid(2)), so that Ctrl-C in the terminal reaches only the server. */
export const leaveTerminal = () => void libc().setsid();

/** Switches this process to another OS user, without a way back. */
export function becomeUser(uid: number): void {
  checked(libc().setgroups(0, null), "setgroups");
  checked(libc().setgid(uid), "setgid");
  checked(libc().setuid(uid), "setuid");
}

/** Sends SIGINT when the parent ends (prctl(2)). Lost by a change of the OS user. */
export const dieWithParent = () =>
  checked(libc().prctl(PR_SET_PDEATHSIG, constants.signals.SIGINT, 0, 0, 0), "prctl");

/** Replaces the program of this process (execve(2)). Returns only by throwing. */
export function replaceProcess(command: string[], env: Record<string, string>): never {
  const texts = (values: string[]) => values.map((value) => Buffer.from(`${value}\0`));
  const argv = texts(command);
  const envp = texts(Object.entries(env).map(([name, value]) => `${name}=${value}`));
  const pointers = (buffers: Buffer[]) =>
    new BigUint64Array([...buffers.map((buffer) => BigInt(ptr(buffer))), 0n]);
  const [program] = argv;
  if (!program) throw new Error("execve: no program given");
  checked(libc().execve(ptr(program), ptr(pointers(argv)), ptr(pointers(envp))), command[0] ?? "");
  throw new Error("execve returned");
}
