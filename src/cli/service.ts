import unit from "../../deploy/systemd/bunker.service" with { type: "text" };
import { isCompiled } from "../kit/build.ts";
import { note, print } from "../terminal.ts";

const USUAL = "/usr/local/bin/bunker";
/** What the unit hides from the process that it starts: ProtectHome, PrivateTmp. */
const HIDDEN = /^\/(home|root|run\/user|tmp|var\/tmp)\//;
/** Needs no quoting in a unit. */
const PLAIN = /^[\w./+@-]+$/;

/** The unit for systemd, which starts this very binary, or where that cannot be started so, the one in the usual place. */
export async function printService(): Promise<void> {
  const { execPath } = process;
  const isStartable = isCompiled && PLAIN.test(execPath) && !HIDDEN.test(execPath);
  print(isStartable ? unit.replace(USUAL, execPath).trimEnd() : unit.trimEnd());
  if (isCompiled && !isStartable)
    note(
      `The unit starts ${USUAL}, since it cannot start one from here. First: sudo install '${execPath}' ${USUAL}`,
    );
}
