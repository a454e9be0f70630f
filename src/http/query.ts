import { type FieldProblem, fieldProblem } from "../kit/problem.ts";

/** The names of the parameters that lists take. Other names are not repeated in an answer. */
const names = ["skip", "limit", "cursor", "total"] as const;
type Name = (typeof names)[number];

/** Faults of the parameters that a URL has more than once: taking one of them would ignore the others. */
export function repeatedIn(url: string): Partial<Record<Name, FieldProblem>> {
  const [, query = ""] = url.split("?", 2);
  if (query === "") return {};
  const parameters = new URLSearchParams(query);
  const repeated = names.filter((name) => parameters.getAll(name).length > 1);
  return Object.fromEntries(
    repeated.map((name) => [name, fieldProblem(`/query/${name}`, "repeated")]),
  );
}
