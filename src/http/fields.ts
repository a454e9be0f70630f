import { type ValueError, ValueErrorType } from "@sinclair/typebox/errors";
import { getTableColumns } from "drizzle-orm";
import type { ValidationError } from "elysia";
import { users } from "../db/schema.ts";
import { type FieldProblem, fieldProblem } from "../kit/problem.ts";
import type { FieldProblemCode } from "../kit/problem-codes.ts";

const ERRORS_MAX = 20;
const ERRORS_READ_MAX = 1000;

/** Names that are ours: known elsewhere, but not writable where somebody tried. Other people's names are not repeated. */
const ownNames = new Set([
  "password",
  ...Object.values(getTableColumns(users)).map(({ name }) => name),
]);

const codes: Partial<Record<ValueErrorType, FieldProblemCode>> = {
  [ValueErrorType.ObjectRequiredProperty]: "required",
  [ValueErrorType.ObjectMinProperties]: "required",
  [ValueErrorType.ObjectAdditionalProperties]: "unknown_field",
  [ValueErrorType.StringMinLength]: "too_short",
  [ValueErrorType.StringMaxLength]: "too_long",
  [ValueErrorType.StringFormat]: "wrong_format",
  [ValueErrorType.StringPattern]: "wrong_format",
  [ValueErrorType.Literal]: "not_allowed",
  [ValueErrorType.Union]: "not_allowed",
};

/** What does not fit the schema, one entry for each place; never a value, and no name that is not ours. */
export function fieldProblemsOf(error: ValidationError): FieldProblem[] {
  const found = new Map<string, FieldProblem>();
  let read = 0;
  for (const one of errorsOf(error)) {
    const problem = problemOf(one);
    if (!found.has(problem.pointer)) found.set(problem.pointer, problem);
    read += 1;
    if (found.size >= ERRORS_MAX || read >= ERRORS_READ_MAX) break;
  }
  return [...found.values()];
}

const errorsOf = ({ validator, value }: ValidationError): Iterable<ValueError> =>
  "Errors" in validator ? validator.Errors(value) : [];

function problemOf(error: ValueError): FieldProblem {
  const at = error.path.lastIndexOf("/");
  const code = codes[error.type] ?? "wrong_type";
  if (code === "unknown_field" && ownNames.has(error.path.slice(at + 1)))
    return fieldProblem(error.path, "not_writable");
  if (code === "unknown_field") return fieldProblem(error.path.slice(0, at), code);
  const inner = error.type === ValueErrorType.Union ? firstOf(error) : undefined;
  if (inner && codes[inner.type] !== "not_allowed") return problemOf(inner);
  return fieldProblem(error.path, code, detailOf(error));
}

/** A value that may also be null is told what is wrong with it, not that it is not null. */
const firstOf = (union: ValueError): ValueError | undefined => union.errors[0]?.First();

const units: Partial<Record<ValueErrorType, (schema: Record<string, unknown>) => string>> = {
  [ValueErrorType.StringMinLength]: ({ minLength }) => `needs at least ${minLength} characters`,
  [ValueErrorType.StringMaxLength]: ({ maxLength }) => `may have at most ${maxLength} characters`,
  [ValueErrorType.ObjectMinProperties]: () => "needs at least one field",
};
const detailOf = (error: ValueError) => units[error.type]?.(error.schema);
