import {
  type FieldProblemCode,
  fieldProblems,
  type ProblemCode,
  problems,
} from "./problem-codes.ts";

/** `pointer` is a JSON Pointer into the body, or `/name` of a query or path parameter. */
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

/** A refusal, thrown anywhere and answered once, by http/problems. */
export class Problem extends Error {
  readonly code: ProblemCode;
  readonly errors: FieldProblem[] | undefined;
  constructor(code: ProblemCode, more: { detail?: string; errors?: FieldProblem[] } = {}) {
    super(more.detail ?? problems[code].detail);
    this.code = code;
    this.errors = more.errors;
  }
}

/** A user that a change refers to no longer exists: `not_found`, or `invalid_token` where it is the caller (http/problems). */
export class UserGone extends Problem {
  readonly userId: string | undefined;
  constructor(userId: string | undefined) {
    super("not_found");
    this.userId = userId;
  }
}

/** A refusal in words for a terminal, a line for each field. */
export const wordsOf = ({ message, errors = [] }: Problem): string =>
  [`${message}.`, ...errors.map(({ pointer, detail }) => `  ${pointer.slice(1)} ${detail}`)].join(
    "\n",
  );

const isFieldProblem = (value: unknown): value is FieldProblem =>
  typeof value === "object" && value !== null && "pointer" in value;

/**
 * Takes what the readers of single fields answered: a value, or what is wrong with the field. Throws `invalid_request`
 * with all that is wrong at once, or answers the values.
 */
export function accept<T extends Record<string, unknown>>(
  fields: T,
): { [K in keyof T]: Exclude<T[K], FieldProblem> } {
  const errors = Object.values(fields).filter(isFieldProblem);
  if (errors.length > 0) throw new Problem("invalid_request", { errors });
  return fields as { [K in keyof T]: Exclude<T[K], FieldProblem> };
}
