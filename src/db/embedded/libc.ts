import { dlopen, type Pointer, ptr, read } from "bun:ffi";

/**
 * The few calls of the C library that Bun has no name for. Linux with glibc only; opened at first use, so that a Bunker
 * with a database elsewhere never touches it. Each answers 0 (or more), or an errno below zero.
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
const SIGNALS = { SIGINT: 2 } as const;

function checked(answer: number, call: string): void {
  if (answer >= 0) return;
  const at = libc().__errno_location();
  throw new Error(`${call} failed with errno ${at ? read.i32(at as Pointer) : "?"}`);
}

/** Takes an exclusive lock that dies with this process, or answers false where another process has it (flock(2)). */
export function tryLock(fd: number): boolean {
  if (libc().flock(fd, LOCK_EX_NB) === 0) return true;
  const at = libc().__errno_location();
  const errno = at ? read.i32(at as Pointer) : 0;
  if (errno !== EWOULDBLOCK) throw new Error(`flock failed with errno ${errno}`);
  return false;
}

/** Writes everything of the file system that `fd` stands on to its disk (syncfs(2)). */
export const syncFileSystem = (fd: number) => checked(libc().syncfs(fd), "syncfs");

/** Leaves the terminal's process group, so that a Ctrl-C meant for the server does not reach this process too. */
export const leaveTerminal = () => void libc().setsid();

/** Becomes another account, for good. */
export function becomeUser(uid: number): void {
  checked(libc().setgroups(0, null), "setgroups");
  checked(libc().setgid(uid), "setgid");
  checked(libc().setuid(uid), "setuid");
}

/** Asks the kernel for `signal` when the parent dies, however it dies. Survives exec, but not a change of account. */
export const dieWithParent = (signal: keyof typeof SIGNALS) =>
  checked(libc().prctl(PR_SET_PDEATHSIG, SIGNALS[signal], 0, 0, 0), "prctl");

/** Turns this process into another program; comes back only to throw. */
export function replaceProcess(command: string[], env: Record<string, string>): never {
  const texts = (values: string[]) => values.map((value) => Buffer.from(`${value}\0`));
  const argv = texts(command);
  const envp = texts(Object.entries(env).map(([name, value]) => `${name}=${value}`));
  const pointers = (buffers: Buffer[]) =>
    new BigUint64Array([...buffers.map((buffer) => BigInt(ptr(buffer))), 0n]);
  const [program] = argv;
  if (!program) throw new Error("no program to become");
  checked(libc().execve(ptr(program), ptr(pointers(argv)), ptr(pointers(envp))), command[0] ?? "");
  throw new Error("execve came back");
}
