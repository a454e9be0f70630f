/** Exit codes of the command line, from sysexits.h if it has one for the case. */
export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  noDataDir: 66,
  unavailable: 69,
  taken: 75,
  badConfiguration: 78,
} as const;

/** Ends a command with a message for the operator and an exit code for scripts. */
export class Exit extends Error {
  readonly status: number;
  constructor(reason: keyof typeof exitCodes, message: string) {
    super(message);
    this.status = exitCodes[reason];
  }
}

/** The operator has to change the configuration, or something around it. */
export const misconfigured = (message: string): Exit => new Exit("badConfiguration", message);
