import type { DestinationStream } from "pino";

export const logLevels = ["debug", "info", "warn", "error", "silent"] as const;
export type LogLevel = (typeof logLevels)[number];
export const logFormats = ["json", "pretty"] as const;
export type LogFormat = (typeof logFormats)[number];

/** A log line is a sentence and fields, written once, where the failure is handled. An error goes into the field `err`. */
export type Log = Record<Exclude<LogLevel, "silent">, (fields: object, sentence: string) => void>;

export interface OpenLog extends Log {
  setLevel: (level: LogLevel) => void;
  /** Writes what still waits, for half a second at most: a reader who does not read holds up no end. */
  close: () => Promise<void>;
}

export interface LogOptions {
  level: LogLevel;
  format: LogFormat;
  /** Whether other processes write to the same place: then none writes more at a time than a pipe takes as one piece. */
  isShared?: boolean;
  /** Whether lines of the format `pretty` have colors. */
  isColored?: boolean;
}

const STANDARD_ERROR = 2;
const CLOSE_MAX_MS = 500;
/** What waits for a reader that is slow, a disk that is full or a pipe that nobody reads; beyond it, lines are dropped. */
const WAITING_MAX_BYTES = 1 << 20;
const TOGETHER_MIN_BYTES = 8192;
/** What a pipe takes as one piece (PIPE_BUF, pipe(7)). */
const PIECE_MAX_BYTES = 4096;
const PIECE_MIN_BYTES = 3072;
const TOGETHER_MAX_MS = 100;

/**
 * Lines on standard error: standard output belongs to what a command was asked for. Nobody waits for a line to be written,
 * and a log that cannot be written stops nothing. pino is loaded at the first line: a start that has nothing to say does
 * not wait for it.
 */
export function openLog(given: LogOptions): OpenLog {
  let options = given;
  let opened: OpenLog | undefined;
  let isClosed = false;
  const write =
    (name: keyof Log): Log[keyof Log] =>
    (fields, sentence) => {
      if (isClosed) return;
      opened ??= openPino(options);
      opened[name](fields, sentence);
    };
  const close = async () => {
    isClosed = true;
    await opened?.close();
  };
  const setLevel = (level: LogLevel) => {
    options = { ...options, level };
    opened?.setLevel(level);
  };
  return {
    ...{ debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") },
    setLevel,
    close,
  };
}

function openPino({ level, format, isShared = false, isColored = false }: LogOptions): OpenLog {
  const { pino }: typeof import("pino") = require("pino");
  const { SonicBoom }: typeof import("sonic-boom") = require("sonic-boom");
  // Not pino's own destination: at the end of the process that one tries for ever to write what cannot be written.
  const destination = new SonicBoom({
    ...{ fd: STANDARD_ERROR, sync: false },
    // One write for many lines: it costs more than a line does.
    ...{ minLength: TOGETHER_MIN_BYTES, periodicFlush: TOGETHER_MAX_MS },
    ...(isShared ? { minLength: PIECE_MIN_BYTES, maxWrite: PIECE_MAX_BYTES } : {}),
    maxLength: WAITING_MAX_BYTES,
  });
  const log = pino(
    {
      level,
      base: isShared ? { pid: process.pid } : null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: describeError },
    },
    format === "pretty" ? prettyOn(destination, isColored) : destination,
  );
  let lost = 0;
  const tell = () => {
    const lines = lost;
    lost = 0;
    log.warn({ lines }, "Log lines were lost: nobody read them fast enough.");
  };
  destination.on("drop", () => {
    if (lost === 0) destination.once("drain", tell);
    lost += 1;
  });
  // A full disk, or a reader that has gone: what waits is tried again with the next line.
  destination.on("error", () => {});
  const close = () =>
    new Promise<void>((done) => {
      setTimeout(done, CLOSE_MAX_MS);
      destination.once("close", done).once("error", () => done());
      destination.end();
    });
  /** Whoever looks for the reason of a crash finds it: these are not kept for others to come along. */
  const urgent =
    (name: "warn" | "error"): Log[keyof Log] =>
    (fields, sentence) => {
      log[name](fields, sentence);
      destination.flush();
    };
  return {
    debug: (...line) => log.debug(...line),
    info: (...line) => log.info(...line),
    warn: urgent("warn"),
    error: urgent("error"),
    setLevel: (other) => {
      log.level = other;
    },
    close,
  };
}

/** For eyes. Put together at once: as a stream it would hold back lines without bound where nobody reads. */
function prettyOn(destination: DestinationStream, colorize: boolean): DestinationStream {
  const { prettyFactory }: typeof import("pino-pretty") = require("pino-pretty");
  const format = prettyFactory({
    ...{ translateTime: "SYS:HH:MM:ss.l", singleLine: true, colorize },
  });
  return { write: (line) => destination.write(format(line) ?? "") };
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
