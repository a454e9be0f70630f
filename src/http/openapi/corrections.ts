import { type ProblemCode, problems } from "../../kit/problem-codes.ts";
import { PROBLEM_CODES, problemExamples } from "../problems.ts";
import { CODE_POINTS, MEDIA_TYPE } from "../schemas.ts";
import { describeHeaders } from "./headers.ts";

interface Schema {
  [PROBLEM_CODES]?: ProblemCode[];
  type?: string;
  const?: string;
  enum?: string[];
  anyOf?: Schema[];
  properties?: Record<string, Schema>;
}
interface Body {
  description?: string;
  [MEDIA_TYPE]?: string;
  content?: Record<string, { schema: Schema; examples?: object }>;
}
interface Operation {
  parameters?: object[];
  requestBody?: Body;
  responses: Record<string, Body>;
}
export interface Document {
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, object>; examples?: object };
}

const JSON_TYPE = "application/json";
const BODILESS = [101, 204];
const FORM_TYPE = "application/x-www-form-urlencoded";

/**
 * Corrects the document of @elysiajs/swagger:
 * - OpenAPI 3.1, whose schemas are JSON Schema as TypeBox writes it;
 * - the real content types of each body, instead of three;
 * - a description for each response;
 * - problems as one schema, with the codes of the route.
 */
export function corrected(raw: Document, { formPaths }: { formPaths: string[] }): Document {
  const document: Document = JSON.parse(JSON.stringify(raw), (_key, value) => tidy(value));
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.values(methods).map((operation) => ({ path, operation })),
  );
  const codes = new Set(operations.flatMap(({ operation }) => problemCodesOf(operation)));
  for (const { path, operation } of operations) {
    const types = formPaths.includes(path) ? [JSON_TYPE, FORM_TYPE] : [JSON_TYPE];
    correct(operation, types);
  }
  document.components.examples = problemExamples([...codes]);
  return Object.assign(document, { openapi: "3.1.0" });
}

const problemCodesOf = ({ responses }: Operation): ProblemCode[] =>
  Object.values(responses).flatMap((response) => schemaOf(response)[PROBLEM_CODES] ?? []);

function correct(operation: Operation, types: string[]): void {
  const { requestBody, responses } = operation;
  if (requestBody) requestBody.content = contentOf(schemaOf(requestBody), types);
  if (operation.parameters?.length === 0) delete operation.parameters;
  for (const [status, response] of Object.entries(responses))
    responses[status] = responseOf(Number(status), response);
  describeHeaders(operation);
}

function responseOf(status: number, response: Body): Body {
  const schema = schemaOf(response);
  const codes = schema[PROBLEM_CODES];
  if (!codes) {
    const { [MEDIA_TYPE]: type = JSON_TYPE, ...rest } = response;
    return {
      // @elysiajs/swagger writes the other members of a titled schema beside the content.
      // http/openapi/names merges them.
      ...("title" in response ? rest : {}),
      description: response.description ?? "Success.",
      ...(BODILESS.includes(status) ? {} : { content: contentOf(schema, [type]) }),
    };
  }
  const own = { properties: { status: { const: status }, code: { enum: codes } } };
  const problem = { allOf: [{ $ref: "#/components/schemas/Problem" }, own] };
  const description = codes.map((code) => `\`${code}\`: ${problems[code].title}.`).join(" ");
  const examples = Object.fromEntries(
    codes.map((code) => [code, { $ref: `#/components/examples/${code}` }]),
  );
  const content = { schema: problem as Schema, examples };
  return { description, content: { "application/problem+json": content } };
}

interface Tidied {
  $id?: string;
  nullable?: boolean;
  [CODE_POINTS]?: object;
}

/** Removes what only Elysia understands: internal ids and `nullable`. */
function tidy(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  const { $id, nullable, anyOf, [CODE_POINTS]: lengths, ...own } = value as Schema & Tidied;
  const rest = { ...own, ...lengths };
  if (!anyOf) return rest;
  const texts = anyOf.flatMap((option) => (typeof option.const === "string" ? [option.const] : []));
  if (texts.length === anyOf.length) return { ...rest, type: "string", enum: texts };
  return { ...rest, anyOf };
}

const schemaOf = ({ content = {} }: Body): Schema => Object.values(content)[0]?.schema ?? {};
const contentOf = (schema: Schema, types: string[]) =>
  Object.fromEntries(types.map((type) => [type, { schema }]));
