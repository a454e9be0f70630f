import { type ProblemCode, problems } from "../kit/problem.ts";

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
type Node = { [key: string]: Json };
/** An OpenAPI document, as JSON. */
export type Document = Node;

const PROBLEM = "application/problem+json";
const FORM = "application/x-www-form-urlencoded";

/**
 * What @elysiajs/swagger writes, put right: OpenAPI 3.1, whose schemas are JSON Schema as TypeBox writes it; one content
 * type for each body, instead of three; a description for each response; problems as one schema with a route's own codes.
 */
export function corrected(raw: Document, { formPaths }: { formPaths: string[] }): Document {
  const document = tidy(JSON.parse(JSON.stringify(raw))) as Node;
  const paths = Object.entries(node(document["paths"])).map(([path, operations]) => [
    path,
    mapValues(node(operations), (one) => operation(node(one), formPaths.includes(path))),
  ]);
  return { ...document, openapi: "3.1.0", paths: Object.fromEntries(paths) };
}

function operation(
  { parameters, requestBody, responses, ...rest }: Node,
  takesForm: boolean,
): Node {
  const body = schemaOf(requestBody);
  const types = ["application/json", ...(takesForm ? [FORM] : [])];
  const list = Array.isArray(parameters) ? parameters : [];
  return {
    ...rest,
    ...(list.length > 0 ? { parameters: list } : {}),
    ...(body === undefined
      ? {}
      : { requestBody: { required: true, content: contentOf(body, types) } }),
    responses: Object.fromEntries(
      Object.entries(node(responses)).map(([status, one]) => [
        status,
        response(Number(status), node(one)),
      ]),
    ),
  };
}

function response(status: number, raw: Node): Node {
  const schema = schemaOf(raw);
  const codes = enumOf(node(node(node(schema)["properties"])["code"])) as ProblemCode[] | undefined;
  if (!codes)
    return {
      description: String(raw["description"] ?? "Done."),
      content: contentOf(schema ?? {}, ["application/json"]),
    };
  const properties = { status: { const: status }, code: { enum: codes } };
  return {
    description: codes.map((code) => `\`${code}\`: ${problems[code].title}.`).join(" "),
    content: contentOf({ allOf: [{ $ref: "#/components/schemas/Problem" }, { properties }] }, [
      PROBLEM,
    ]),
  };
}

/** Takes out of every schema what only Elysia understands: internal ids, strings that stand for integers, `nullable`. */
function tidy(value: Json): Json {
  if (Array.isArray(value)) return value.map(tidy);
  if (typeof value !== "object" || value === null) return value;
  const { $id, nullable, ...kept } = value;
  const { anyOf, ...around } = kept;
  const values = enumOf(kept);
  if (anyOf && values) return { ...(tidy(around) as Node), type: "string", enum: values };
  const integer = Array.isArray(anyOf) && anyOf.map(node).find((one) => one["type"] === "integer");
  if (integer) return tidy({ ...around, ...integer });
  return mapValues(kept, tidy);
}

/** The texts of a schema that allows exactly these. */
function enumOf(schema: Node): string[] | undefined {
  const options = Array.isArray(schema["anyOf"]) ? schema["anyOf"].map(node) : [schema];
  if (Array.isArray(schema["enum"])) return schema["enum"] as string[];
  const isClosed =
    options.length > 0 && options.every((option) => typeof option["const"] === "string");
  return isClosed ? options.map((option) => option["const"] as string) : undefined;
}

const node = (value: Json | undefined): Node =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? value : {};
const mapValues = (object: Node, change: (value: Json) => Json): Node =>
  Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(value)]));
const schemaOf = (raw: Json | undefined): Json | undefined => {
  const [content] = Object.values(node(node(raw)["content"]));
  return node(content)["schema"];
};
const contentOf = (schema: Json, types: string[]): Node =>
  Object.fromEntries(types.map((type) => [type, { schema }]));
