import { readdirSync, readFileSync } from "node:fs";

/** USER_HZ: what /proc counts in, on every Linux that Bun runs on. */
const TICKS_PER_SECOND = 100;

/** CPU that a process has used so far, of all its threads, user and system, in microseconds (in steps of 10,000). */
export function cpuMicrosOf(pid: number): number {
  const [, fields = ""] = readFileSync(`/proc/${pid}/stat`, "utf8").split(/\) /);
  const [user, system] = fields.split(" ").slice(11, 13);
  return ((Number(user) + Number(system)) / TICKS_PER_SECOND) * 1e6;
}

/** Resident memory in bytes, shared pages included. */
export const residentBytesOf = (pid: number): number =>
  kilobytesIn(`/proc/${pid}/status`, /^VmRSS:\s+(\d+) kB/m) * 1024;

/** Memory of a process and all its descendants in bytes; a page that several share is counted once (PSS). */
export const treeBytesOf = (pid: number): number =>
  treeOf(pid)
    .map((each) => kilobytesIn(`/proc/${each}/smaps_rollup`, /^Pss:\s+(\d+) kB/m) * 1024)
    .reduce((sum, bytes) => sum + bytes, 0);

/** A process and all its descendants. */
export const treeOf = (pid: number): number[] => [pid, ...childrenOf(pid).flatMap(treeOf)];

const childrenOf = (pid: number): number[] =>
  readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
    readFileSync(`/proc/${pid}/task/${thread}/children`, "utf8")
      .split(" ")
      .filter((text) => text !== "")
      .map(Number),
  );

function kilobytesIn(file: string, pattern: RegExp): number {
  const [, number] = pattern.exec(readFileSync(file, "utf8")) ?? [];
  if (number === undefined) throw new Error(`${file} has no ${pattern.source}`);
  return Number(number);
}
