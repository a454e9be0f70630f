import { readdirSync, readFileSync } from "node:fs";

/** USER_HZ, the unit of /proc, on every Linux that Bun runs on. */
const TICKS_PER_SECOND = 100;

/** The CPU time of all threads of a process, user and system, in microseconds (steps of 10,000). */
export function cpuMicrosOf(pid: number): number {
  const [, fields = ""] = readFileSync(`/proc/${pid}/stat`, "utf8").split(/\) /);
  const [user, system] = fields.split(" ").slice(11, 13);
  return ((Number(user) + Number(system)) / TICKS_PER_SECOND) * 1e6;
}

/** Resident memory in bytes, shared pages included. */
export const residentBytesOf = (pid: number): number =>
  kilobytesIn(`/proc/${pid}/status`, /^VmRSS:\s+(\d+) kB/m) * 1024;

/** Memory of a process and its descendants in bytes. Shared pages count once (PSS). */
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
