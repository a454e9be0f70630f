import type { Config } from "../config/config.ts";
import { type FieldProblem, isFieldProblem } from "../kit/problem.ts";

/** The key under which a schema holds the domain's reader for its value. */
const READER = Symbol("reader");

/** What a reader may use besides its value. `names` are those of the signed-in user. */
export interface ReaderContext {
  config: Config;
  body: Record<string, unknown>;
  names: string[];
}

/** Returns a problem of the field or a list of them, or anything else if there is none. */
type Reader<T> = (value: T, context: ReaderContext) => unknown;
interface Schema {
  [READER]?: Reader<unknown>;
  properties?: Record<string, Schema>;
}

/**
 * Attaches to a schema the reader that the domain uses for its value. A request that does not match
 * its schema never reaches the domain. The readers then find what the domain would refuse, so that
 * one response names every problem. For a nullable field, attach it to `t.Nullable`.
 */
export const readBy = <T = string>(read: Reader<T>) => ({ [READER]: read as Reader<unknown> });

/** What the readers of an object and of its fields find. Skips fields with a known problem. */
export function domainProblemsOf(
  schema: unknown,
  context: ReaderContext,
  hasProblem: (field: string) => boolean,
): FieldProblem[] {
  const { properties = {}, ...whole } = schema as Schema;
  const readers = Object.entries(properties).map(([name, property]) => {
    const value = context.body[name];
    const isReadable = value !== undefined && value !== null && !hasProblem(name);
    return isReadable ? property[READER]?.(value, context) : undefined;
  });
  return [...readers, whole[READER]?.(context.body, context)].flat().filter(isFieldProblem);
}
