export const logLevels = ["debug", "info", "warn", "error", "silent"] as const;
export type LogLevel = (typeof logLevels)[number];

/** A log line is a sentence and fields, written once, where the failure is handled. An error goes into the field `err`. */
export type Log = Record<Exclude<LogLevel, "silent">, (fields: object, sentence: string) => void>;

/**
 * JSON lines on standard error: standard output belongs to what a command was asked for. pino is loaded at the first line:
 * a start that has nothing to say does not wait for it.
 */
export function openLog(level: LogLevel): Log {
  let opened: Log | undefined;
  const write =
    (name: keyof Log): Log[keyof Log] =>
    (fields, sentence) => {
      opened ??= openPino(level);
      opened[name](fields, sentence);
    };
  return { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") };
}

function openPino(level: LogLevel): Log {
  const { pino }: typeof import("pino") = require("pino");
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      serializers: { err: describeError },
    },
    pino.destination(2),
  );
}

const FRAMES_MAX = 12;

/** Errors of the language itself and plain ones of ours: their messages are about code, not about what was submitted. */
const speaksOfCode = (error: Error) =>
  ["Error", "TypeError", "RangeError", "ReferenceError"].includes(error.name) &&
  error.cause === undefined &&
  !("code" in error);

/**
 * What may be told of an error: its kind, its codes, and where it was thrown. Not the message of a failed statement, in
 * which drizzle puts the values and PostgreSQL the row.
 */
export function describeError(error: unknown) {
  if (!(error instanceof Error)) return { type: typeof error };
  const cause: unknown = error.cause ?? error;
  const { code, constraint_name: constraint } = cause as {
    code?: string;
    constraint_name?: string;
  };
  const frames = (error.stack ?? "").split("\n").filter((line) => /^\s+at /.test(line));
  return {
    type: error.constructor.name,
    ...(speaksOfCode(error) ? { message: error.message } : {}),
    ...(code === undefined ? {} : { code }),
    ...(constraint === undefined ? {} : { constraint }),
    at: frames.slice(0, FRAMES_MAX).map((line) => line.trim().slice("at ".length)),
  };
}
