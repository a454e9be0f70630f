import { dlopen, ptr } from "bun:ffi";

/** Whoever has started the process, and wants to hear how it is (sd_notify(3)). */
export interface Supervisor {
  ready: () => void;
  stopping: () => void;
}

const AF_UNIX = 1;
const SOCK_DGRAM_CLOEXEC = 2 | 0x80000;
const MSG_DONTWAIT_NOSIGNAL = 0x40 | 0x4000;
/** Of a socket's path, the terminating zero included (unix(7)). */
const PATH_MAX_BYTES = 108;
const MICROS_IN_MS = 1_000;

const unsupervised: Supervisor = { ready: () => {}, stopping: () => {} };

/**
 * systemd, where NOTIFY_SOCKET says that it listens: that the server is ready, that it is about to end, and, for WatchdogSec, twice in
 * each of its periods that the process still comes to its work.
 */
export function openSupervisor(env: Record<string, string | undefined>): Supervisor {
  const path = env["NOTIFY_SOCKET"];
  const isThere =
    path !== undefined && /^[/@]/.test(path) && Buffer.byteLength(path) < PATH_MAX_BYTES;
  if (!isThere) return unsupervised;
  const tell = openTelling(path);
  if (!tell) return unsupervised;
  const periodMs = Number(env["WATCHDOG_USEC"] ?? 0) / MICROS_IN_MS;
  const isMine = env["WATCHDOG_PID"] === undefined || Number(env["WATCHDOG_PID"]) === process.pid;
  return {
    ready: () => {
      tell("READY=1");
      if (periodMs > 0 && isMine) setInterval(() => tell("WATCHDOG=1"), periodMs / 2);
    },
    stopping: () => tell("STOPPING=1"),
  };
}

/** Bun knows no datagrams on a unix socket. A message that nobody takes is lost, and that is all; so it is where the C library is another one. */
function openTelling(path: string): ((message: string) => void) | undefined {
  const libc = openLibc();
  if (!libc) return undefined;
  const { socket, sendto } = libc;
  const fd = socket(AF_UNIX, SOCK_DGRAM_CLOEXEC, 0);
  // An abstract address begins with a zero, which is written as @.
  const name = Buffer.from(path.startsWith("@") ? `\0${path.slice(1)}` : `${path}\0`);
  const address = Buffer.concat([Buffer.from(new Uint16Array([AF_UNIX]).buffer), name]);
  return (text) => {
    const message = Buffer.from(text);
    sendto(fd, ptr(message), message.length, MSG_DONTWAIT_NOSIGNAL, ptr(address), address.length);
  };
}

function openLibc() {
  try {
    return dlopen("libc.so.6", {
      socket: { args: ["i32", "i32", "i32"], returns: "i32" },
      sendto: { args: ["i32", "ptr", "u64", "i32", "ptr", "u32"], returns: "i64" },
    }).symbols;
  } catch {
    return undefined;
  }
}
