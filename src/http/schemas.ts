import type { TUnsafe } from "@sinclair/typebox";
import { t } from "elysia";

/** One of a closed list of words. */
export const literals = <C extends string>(words: readonly C[]) =>
  t.Unsafe<C>(t.Union(words.map((word) => t.Literal(word))));

/** A schema that is told in the document and to the compiler, and not checked: something else makes sure of it. */
export const described = <T>(schema: Record<string, unknown>) =>
  t.Any(schema) as unknown as TUnsafe<T>;

/** The path of one thing. */
// A pattern, because the format "uuid" also lets `urn:uuid:…` pass, which PostgreSQL does not.
export const ById = t.Object({
  id: t.String({ pattern: "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$" }),
});
