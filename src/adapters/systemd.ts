import { dlopen, ptr } from "bun:ffi";

/** The service manager that gets the state of the process (sd_notify(3)). */
export interface Supervisor {
  ready: () => void;
  stopping: () => void;
}

const AF_UNIX = 1;
const SOCK_DGRAM_CLOEXEC = 2 | 0x80000;
const MSG_DONTWAIT_NOSIGNAL = 0x40 | 0x4000;
/** The size of the path of a socket, with the terminating zero (unix(7)). */
const PATH_MAX_BYTES = 108;
const MICROS_IN_MS = 1_000;

const unsupervised: Supervisor = { ready: () => {}, stopping: () => {} };

/**
 * Notifies systemd, if NOTIFY_SOCKET is set: when the server is ready and when it stops. With
 * WatchdogSec, also twice in each period that the event loop still runs.
 */
export function openSupervisor(env: Record<string, string | undefined>): Supervisor {
  const path = env["NOTIFY_SOCKET"];
  const hasSocket =
    path !== undefined && /^[/@]/.test(path) && Buffer.byteLength(path) < PATH_MAX_BYTES;
  if (!hasSocket) return unsupervised;
  const notify = openNotifier(path);
  if (!notify) return unsupervised;
  const periodMs = Number(env["WATCHDOG_USEC"] ?? 0) / MICROS_IN_MS;
  const isForThisProcess =
    env["WATCHDOG_PID"] === undefined || Number(env["WATCHDOG_PID"]) === process.pid;
  return {
    ready: () => {
      notify("READY=1");
      if (periodMs > 0 && isForThisProcess) setInterval(() => notify("WATCHDOG=1"), periodMs / 2);
    },
    stopping: () => notify("STOPPING=1"),
  };
}

/** By the C library, because Bun has no datagrams on unix sockets. Undefined without glibc. */
function openNotifier(path: string): ((message: string) => void) | undefined {
  const libc = openLibc();
  if (!libc) return undefined;
  const { socket, sendto } = libc;
  const fd = socket(AF_UNIX, SOCK_DGRAM_CLOEXEC, 0);
  // The path of an abstract socket starts with a zero byte, which is written as @.
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
