import type { DestinationStream } from "pino";

export const logLevels = ["debug", "info", "warn", "error", "silent"] as const;
export type LogLevel = (typeof logLevels)[number];
export const logFormats = ["json", "pretty"] as const;
export type LogFormat = (typeof logFormats)[number];

/** Log a failure once, where it is handled, with the error in the field `err`. */
export type Log = Record<Exclude<LogLevel, "silent">, (fields: object, sentence: string) => void>;

export interface OpenLog extends Log {
  setLevel: (level: LogLevel) => void;
  /** Writes buffered lines, for at most half a second: a reader may be stuck. */
  close: () => Promise<void>;
}

export interface LogOptions {
  level: LogLevel;
  format: LogFormat;
  /** Whether several processes write to the same output: then each write must be atomic. */
  isShared?: boolean;
  /** True if lines of the format `pretty` have colors. */
  isColored?: boolean;
}

const STANDARD_ERROR = 2;
const CLOSE_MAX_MS = 500;
/** For a slow reader, a full disk or an unread pipe. When it is full, lines are dropped. */
const BUFFER_MAX_BYTES = 1 << 20;
const FLUSH_MIN_BYTES = 8192;
/** The longest write to a pipe that is atomic (PIPE_BUF, pipe(7)). */
const ATOMIC_MAX_BYTES = 4096;
const ATOMIC_MIN_BYTES = 3072;
const FLUSH_EVERY_MS = 100;

/**
 * Logs to standard error, because standard output is for results. A line never blocks, and a log
 * that cannot be written stops nothing. Loads pino at the first line, for a faster start.
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
    debug: write("debug"),
    info: write("info"),
    warn: write("warn"),
    error: write("error"),
    setLevel,
    close,
  };
}

function openPino({ level, format, isShared = false, isColored = false }: LogOptions): OpenLog {
  const { pino }: typeof import("pino") = require("pino");
  const { SonicBoom }: typeof import("sonic-boom") = require("sonic-boom");
  // Not pino's own destination: that one retries forever if it cannot write at the end.
  const destination = new SonicBoom({
    fd: STANDARD_ERROR,
    sync: false,
    // One write for many lines, because a write costs more than a line.
    minLength: FLUSH_MIN_BYTES,
    periodicFlush: FLUSH_EVERY_MS,
    ...(isShared ? { minLength: ATOMIC_MIN_BYTES, maxWrite: ATOMIC_MAX_BYTES } : {}),
    maxLength: BUFFER_MAX_BYTES,
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
  let dropped = 0;
  const reportDropped = () => {
    const lines = dropped;
    dropped = 0;
    log.warn({ lines }, "Log lines were dropped: the reader is too slow.");
  };
  destination.on("drop", () => {
    if (dropped === 0) destination.once("drain", reportDropped);
    dropped += 1;
  });
  // On a full disk or a closed pipe, the next line retries the buffer.
  destination.on("error", () => {});
  const close = () =>
    new Promise<void>((done) => {
      setTimeout(done, CLOSE_MAX_MS);
      destination.once("close", done).once("error", () => done());
      destination.end();
    });
  /** Flushes at once, so that the reason of a crash is in the log. */
  const flushed =
    (name: "warn" | "error"): Log[keyof Log] =>
    (fields, sentence) => {
      log[name](fields, sentence);
      destination.flush();
    };
  return {
    debug: (...line) => log.debug(...line),
    info: (...line) => log.info(...line),
    warn: flushed("warn"),
    error: flushed("error"),
    setLevel: (other) => {
      log.level = other;
    },
    close,
  };
}

/** Formats each line synchronously: pino-pretty's stream buffers without bound if nobody reads. */
function prettyOn(destination: DestinationStream, colorize: boolean): DestinationStream {
  const { prettyFactory }: typeof import("pino-pretty") = require("pino-pretty");
  const format = prettyFactory({ translateTime: "SYS:HH:MM:ss.l", singleLine: true, colorize });
  return { write: (line) => destination.write(format(line) ?? "") };
}

const FRAMES_MAX = 12;

/** The messages of these errors are about code and have no data of a request. */
const isAboutCode = (error: Error) =>
  ["Error", "TypeError", "RangeError", "ReferenceError"].includes(error.name) &&
  error.cause === undefined &&
  !("code" in error);

/**
 * What the log may have of an error: its type, its codes, and where it was thrown. Leaves out the
 * message of a failed statement, in which drizzle puts the values and PostgreSQL the row (CWE-532).
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
    ...(isAboutCode(error) ? { message: error.message } : {}),
    ...(code === undefined ? {} : { code }),
    ...(constraint === undefined ? {} : { constraint }),
    at: frames.slice(0, FRAMES_MAX).map((line) => line.trim().slice("at ".length)),
  };
}
