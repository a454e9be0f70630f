import unit from "../../deploy/systemd/bunker.service" with { type: "text" };
import { isCompiled } from "../kit/build.ts";
import { print } from "./terminal.ts";

/** The unit for systemd, which starts this very binary. */
export const printService = (): void =>
  print(
    isCompiled
      ? unit.replace(/^ExecStart=\S+/m, `ExecStart=${process.execPath}`).trimEnd()
      : unit.trimEnd(),
  );
