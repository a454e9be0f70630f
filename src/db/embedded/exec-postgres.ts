import { readSync } from "node:fs";

const STANDARD_INPUT = 0;
/** Written to the child after its programs are verified. A closed pipe instead ends the child. */
export const VERIFIED = "v";

/** A hidden command: the child process that prepares itself, then becomes PostgreSQL. */
export const EXEC_POSTGRES = "__postgres";

export interface ExecRequest {
  parent: number;
  uid: number | undefined;
  command: string[];
}

/** Loads the C library only when called, because every start of Bunker reads this file. */
export async function execPostgres(text: string): Promise<never> {
  const { becomeUser, dieWithParent, leaveTerminal, replaceProcess } = await import("./libc.ts");
  const { parent, uid, command }: ExecRequest = JSON.parse(text);
  leaveTerminal();
  const isVerified = readSync(STANDARD_INPUT, Buffer.alloc(1)) > 0;
  if (uid !== undefined) becomeUser(uid);
  dieWithParent();
  if (!isVerified || process.ppid !== parent)
    throw new Error("the server that started this process has exited");
  return replaceProcess(command, { LANG: "C", TZ: "UTC" });
}
