import { type ValueError, ValueErrorType } from "@sinclair/typebox/errors";
import { getTableColumns } from "drizzle-orm";
import type { ValidationError } from "elysia";
import { charactersOf, type FieldProblem, fieldProblem } from "../kit/problem.ts";
import type { FieldProblemCode } from "../kit/problem-codes.ts";
import { users } from "../modules/users/tables.ts";
import { repeatedIn } from "./query.ts";
import { domainProblemsOf, type ReaderContext } from "./readers.ts";

const ERRORS_MAX = 20;
const ERRORS_READ_MAX = 1000;

/** A response may repeat these names, unlike any other unknown name. */
const ownNames = new Set([
  "password",
  ...Object.values(getTableColumns(users)).map(({ name }) => name),
]);

const codes: Partial<Record<ValueErrorType, FieldProblemCode>> = {
  [ValueErrorType.ObjectRequiredProperty]: "missing",
  [ValueErrorType.ObjectAdditionalProperties]: "unknown_field",
  [ValueErrorType.StringMinLength]: "too_short",
  [ValueErrorType.StringMaxLength]: "too_long",
  [ValueErrorType.ArrayMinItems]: "too_short",
  [ValueErrorType.ArrayMaxItems]: "too_long",
  [ValueErrorType.StringFormat]: "wrong_format",
  [ValueErrorType.StringPattern]: "wrong_format",
  [ValueErrorType.Literal]: "not_allowed",
  [ValueErrorType.Union]: "not_allowed",
};

const PARTS: Record<string, string> = { query: "/query", params: "/path", headers: "/header" };

/**
 * All problems of the body or another part of a request, one per field: what does not match the
 * schema, and what the domain would refuse. Repeats no value, and only names that are Bunker's own.
 */
export function fieldProblemsOf(
  error: ValidationError,
  { url }: Pick<Request, "url">,
  context: Omit<ReaderContext, "body">,
): FieldProblem[] {
  const part = PARTS[error.type] ?? "";
  const found = new Map<string, FieldProblem>();
  const add = (problem: FieldProblem) => {
    if (!found.has(problem.pointer)) found.set(problem.pointer, problem);
  };
  if (part === "/query") for (const problem of Object.values(repeatedIn(url))) add(problem);
  // Without a body, each field is missing.
  const value = error.value ?? {};
  let read = 0;
  for (const one of errorsOf(error, value)) {
    add(problemOf(one, part));
    read += 1;
    if (found.size >= ERRORS_MAX || read >= ERRORS_READ_MAX) break;
  }
  const schema = schemaOf(error);
  if (isObject(value)) {
    const hasProblem = (field: string) => isFinal(found.get(`${part}/${field}`));
    for (const problem of domainProblemsOf(schema, { ...context, body: value }, hasProblem))
      found.set(problem.pointer, problem);
  }
  if (found.size === 0) add(fieldProblem(part, "missing"));
  return inOrderOf(schema, [...found.values()]);
}

const schemaOf = ({ validator }: ValidationError): { properties?: object } =>
  (validator as { schema?: object }).schema ?? {};

/** Sorts by the order of the fields in the schema. Problems without a field come last. */
function inOrderOf({ properties = {} }: { properties?: object }, problems: FieldProblem[]) {
  const names = Object.keys(properties);
  const placeOf = ({ pointer }: FieldProblem) =>
    names.findIndex((name) => pointer.endsWith(`/${name}`)) + 1 || names.length + 1;
  return problems.toSorted((a, b) => placeOf(a) - placeOf(b));
}

/** Schemas check these only roughly: a problem that the domain finds replaces them. */
const approximate: FieldProblemCode[] = ["too_short", "too_long", "wrong_format"];
const isFinal = (problem: FieldProblem | undefined) =>
  problem !== undefined && !approximate.includes(problem.code);

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const errorsOf = ({ validator }: ValidationError, value: unknown): Iterable<ValueError> =>
  "Errors" in validator ? validator.Errors(value) : [];

function problemOf(error: ValueError, part: string): FieldProblem {
  const pointer = part + error.path;
  const code = codes[error.type] ?? "wrong_type";
  if (code === "unknown_field") return unknownField(error.path, part);
  const inner = error.type === ValueErrorType.Union ? firstOf(error) : undefined;
  if (inner && codes[inner.type] !== "not_allowed") return problemOf(inner, part);
  return fieldProblem(pointer, code, detailOf(error));
}

function unknownField(path: string, part: string): FieldProblem {
  const at = path.lastIndexOf("/");
  const isOwnName = ownNames.has(path.slice(at + 1));
  if (part === "")
    return isOwnName
      ? fieldProblem(path, "not_writable")
      : fieldProblem(path.slice(0, at), "unknown_field");
  return isOwnName
    ? fieldProblem(part + path, "unknown_field", "is not a parameter of this route")
    : fieldProblem(part, "unknown_field", "has an unknown parameter");
}

/** For a nullable value, report what is wrong with the value, not that it is not null. */
const firstOf = (union: ValueError): ValueError | undefined => union.errors[0]?.First();

const units: Partial<Record<ValueErrorType, (schema: Record<string, unknown>) => string>> = {
  [ValueErrorType.StringMinLength]: ({ minLength }) =>
    `needs at least ${charactersOf(Number(minLength))}`,
  [ValueErrorType.StringMaxLength]: ({ maxLength }) =>
    `may have at most ${charactersOf(Number(maxLength))}`,
};
const detailOf = (error: ValueError) => units[error.type]?.(error.schema);
