import { pino } from "pino";

export const logLevels = ["debug", "info", "warn", "error", "silent"] as const;
export type LogLevel = (typeof logLevels)[number];

/** A log line is a sentence and fields, written once, where the failure is handled. */
export type Log = Record<Exclude<LogLevel, "silent">, (fields: object, sentence: string) => void>;

/** JSON lines on standard error: standard output belongs to what a command was asked for. */
export const openLog = (level: LogLevel): Log =>
  pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, pino.destination(2));
