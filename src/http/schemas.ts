import { type TUnsafe, Type } from "@sinclair/typebox";
import { t } from "elysia";
import { passwordRules, readPassword } from "../credentials/password.ts";
import { type ReaderContext, readBy } from "./readers.ts";

/** A string from a closed list. */
export const literals = <C extends string>(words: readonly C[]) =>
  t.Unsafe<C>(t.Union(words.map((word) => t.Literal(word))));

/** Elysia's `t.Integer` also accepts strings, and each use compiles a check during the start. */
export const integer = Type.Integer;

/** For the OpenAPI document and the compiler. Not checked: other code ensures that it holds. */
export const described = <T>(schema: Record<string, unknown>) =>
  t.Any(schema) as unknown as TUnsafe<T>;

/** The key under which the schema of a response holds its content type, if it is not JSON. */
export const MEDIA_TYPE = "x-media-type";

/**
 * A string with lengths in code points, as JSON Schema counts them; TypeBox counts UTF-16 units.
 * Use it with `readBy`: only the reader checks them exactly.
 */
export const text = ({ minLength, maxLength }: Record<"minLength" | "maxLength", number>) =>
  t.String({ maxLength: 2 * maxLength, [CODE_POINTS]: { minLength, maxLength } });
/** The key under which a schema holds its lengths for the OpenAPI document. */
export const CODE_POINTS = "x-code-points";

/** A new password; `pointer` is its place in the body. */
export const newPassword = (pointer: string) =>
  t.String({
    minLength: 1,
    maxLength: 512,
    ...readBy((value, { config, body, names }: ReaderContext) =>
      readPassword(pointer, value, passwordRules(config, [...names, ...namesIn(body)])),
    ),
    description:
      "8 to 128 characters (the operator can set another minimum). Any characters are allowed. Common passwords are refused, and passwords made of the user's own email, username or name, or of the name of the service.",
  });

const namesIn = (body: Record<string, unknown>): string[] =>
  [body["email"], body["username"], body["full_name"]].filter((name) => typeof name === "string");

/** The path parameters of a single resource. */
// A pattern, because the format "uuid" also accepts `urn:uuid:…`, which PostgreSQL does not.
export const ById = t.Object({
  id: t.String({ pattern: "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$" }),
});

/** The same text for every outcome, so that it reveals nothing (CWE-204). */
export const Accepted = t.Object(
  { detail: t.String() },
  { title: "Accepted", description: "The request was accepted. The result is sent by email." },
);
