import {
  type FieldProblemCode,
  fieldProblems,
  type ProblemCode,
  problems,
} from "./problem-codes.ts";

/** `pointer` is a JSON Pointer (RFC 6901) into the body, or `/query/…`, `/header/…`, `/path/…`. */
export interface FieldProblem {
  pointer: string;
  code: FieldProblemCode;
  detail: string;
}

export const fieldProblem = (
  pointer: string,
  code: FieldProblemCode,
  detail: string = fieldProblems[code],
): FieldProblem => ({ pointer, code, detail });

/** A refusal. Any code may throw it, and http/problems turns it into the response. */
export class Problem extends Error {
  readonly code: ProblemCode;
  readonly errors: FieldProblem[] | undefined;
  constructor(code: ProblemCode, more: { detail?: string; errors?: FieldProblem[] } = {}) {
    const [first] = more.errors ?? [];
    super(more.detail ?? (first ? sentenceOf(first) : problems[code].detail));
    this.code = code;
    this.errors = more.errors;
  }
}

/** The user of a change no longer exists. Becomes `invalid_token` if that is the caller. */
export class UserGone extends Problem {
  readonly userId: string | undefined;
  constructor(userId: string | undefined) {
    super("not_found");
    this.userId = userId;
  }
}

/** The request names another version than the current one, whose last change was at `version`. */
export class Stale extends Problem {
  readonly version: Date;
  constructor(version: Date) {
    super("stale");
    this.version = version;
  }
}

/** A problem of a field as a sentence, for clients that show only `detail`: "email is missing". */
export const sentenceOf = ({ pointer, detail }: FieldProblem): string =>
  `${placeOf(pointer)} ${detail}`;

function placeOf(pointer: string): string {
  if (pointer === "") return "The body";
  if (pointer === "/query") return "The query";
  return pointer
    .replace(/^\/(?:query|header|path)(?=\/)/, "")
    .slice(1)
    .replaceAll("/", ".");
}

/** A problem as text for a terminal, one line for each field. */
export const problemText = ({ message, errors = [] }: Problem): string =>
  (errors.length === 0 ? [message] : errors.map(sentenceOf)).map((line) => `${line}.`).join("\n");

/** "1 character", "8 characters". */
export const charactersOf = (count: number): string =>
  count === 1 ? "1 character" : `${count} characters`;

export const isFieldProblem = (value: unknown): value is FieldProblem =>
  typeof value === "object" && value !== null && "pointer" in value;

/** Returns the values. Throws `invalid_request` with the problems of all fields at once. */
export function accept<T extends Record<string, unknown>>(
  fields: T,
): { [K in keyof T]: Exclude<T[K], FieldProblem> } {
  const errors = Object.values(fields).filter(isFieldProblem);
  if (errors.length > 0) throw new Problem("invalid_request", { errors });
  return fields as { [K in keyof T]: Exclude<T[K], FieldProblem> };
}
