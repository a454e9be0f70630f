import unit from "../../deploy/systemd/bunker.service" with { type: "text" };
import { isCompiled } from "../kit/build.ts";
import { print, printNote } from "../terminal.ts";

const DEFAULT_PATH = "/usr/local/bin/bunker";
/** Folders that the unit hides from the process (ProtectHome, PrivateTmp). */
const HIDDEN = /^\/(home|root|run\/user|tmp|var\/tmp)\//;
/** A path that needs no quoting in a unit. */
const UNQUOTED = /^[\w./+@-]+$/;

/** The unit starts the binary in /usr/local/bin if systemd could not start this one. */
export async function printService(): Promise<void> {
  const { execPath } = process;
  const isStartable = isCompiled && UNQUOTED.test(execPath) && !HIDDEN.test(execPath);
  print(isStartable ? unit.replace(DEFAULT_PATH, execPath).trimEnd() : unit.trimEnd());
  if (isCompiled && !isStartable)
    printNote(
      `The unit starts ${DEFAULT_PATH}, since it cannot start one from here. First: sudo install '${execPath}' ${DEFAULT_PATH}`,
    );
}
