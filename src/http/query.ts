import { type FieldProblem, fieldProblem } from "../kit/problem.ts";

/** The parameters of lists. A response repeats no other name. */
const names = [
  "skip",
  "limit",
  "cursor",
  "total",
  "after",
  "since",
  "type",
  "subject",
  "state",
] as const;
type Name = (typeof names)[number];

/** A problem for each repeated parameter: using one value would ignore the others. */
export function repeatedIn(url: string): Partial<Record<Name, FieldProblem>> {
  const [, query = ""] = url.split("?", 2);
  if (query === "") return {};
  const parameters = new URLSearchParams(query);
  const repeated = names.filter((name) => parameters.getAll(name).length > 1);
  return Object.fromEntries(
    repeated.map((name) => [name, fieldProblem(`/query/${name}`, "repeated")]),
  );
}
