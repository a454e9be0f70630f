import type { TObject, TSchema } from "@sinclair/typebox";
import { status, t } from "elysia";
import type { ProblemCode } from "../kit/problem-codes.ts";
import { tagged } from "./etag.ts";
import { pathOf } from "./host.ts";
import { PageQuery } from "./pagination.ts";
import { bodyProblems, fails, tokenProblems } from "./problems.ts";
import type { RequestParts } from "./request-context.ts";
import { ById } from "./schemas.ts";

const itemProblems = [...tokenProblems, "not_found", "invalid_request", "stale"] as const;
type TokenProblem = (typeof tokenProblems)[number];
type BodyProblem = (typeof bodyProblems)[number];
type ItemProblem = (typeof itemProblems)[number];

/**
 * The usual operations on a resource of the caller, each as the options of its route: what it reads
 * and answers, what can fail, and its description. The route adds who may call it. `codes` are
 * further problems of the verb. Each call makes new options, because Elysia changes them.
 */
export function operationsOn<View extends TObject>({ one, many, view }: Resource<View>) {
  return {
    list: () => ({
      detail: { operationId: `list${many}`, summary: `List your ${wordsOf(many)}` },
      query: PageQuery,
      response: { 200: t.Array(view), ...fails(...tokenProblems, "invalid_request") },
    }),
    create: <Body extends TSchema, const C extends ProblemCode = never>(
      body: Body,
      ...codes: C[]
    ) => ({
      responseHeaders: ["etag"] as const,
      detail: { operationId: `create${one}`, summary: `Create a ${wordsOf(one)}` },
      body,
      response: {
        201: view,
        ...fails<TokenProblem | BodyProblem | C>(...tokenProblems, ...bodyProblems, ...codes),
      },
    }),
    get: () => ({
      requestHeaders: ["if-match", "if-none-match"] as const,
      detail: { operationId: `get${one}`, summary: `Get one of your ${wordsOf(many)}` },
      params: ById,
      response: { 200: view, 304: t.Void(), ...fails(...itemProblems) },
    }),
    update: <Body extends TSchema, const C extends ProblemCode = never>(
      body: Body,
      ...codes: C[]
    ) => ({
      requestHeaders: ["if-match"] as const,
      detail: {
        operationId: `update${one}`,
        summary: `Update one of your ${wordsOf(many)}`,
        description: "JSON Merge Patch (RFC 7396): a field that is left out does not change.",
      },
      params: ById,
      body,
      response: {
        200: view,
        ...fails<ItemProblem | BodyProblem | C>(...itemProblems, ...bodyProblems, ...codes),
      },
    }),
    delete: <const C extends ProblemCode = never>(...codes: C[]) => ({
      requestHeaders: ["if-match"] as const,
      detail: { operationId: `delete${one}`, summary: `Delete one of your ${wordsOf(many)}` },
      params: ById,
      response: { 204: t.Void(), ...fails<ItemProblem | C>(...itemProblems, ...codes) },
    }),
  };
}

/** `one` and `many` name the resource in OpenAPI: `Note` and `Notes`. */
interface Resource<View> {
  one: string;
  many: string;
  view: View;
}

/** The fields that every resource has, first in its schema, and their values. */
export const resourceFields = {
  id: t.String({ format: "uuid" }),
  created_at: t.String({ format: "date-time" }),
  updated_at: t.String({ format: "date-time" }),
};
export const resourceFieldsOf = (row: { id: string; createdAt: Date; updatedAt: Date }) => ({
  id: row.id,
  created_at: row.createdAt.toISOString(),
  updated_at: row.updatedAt.toISOString(),
});

/** "team members" for `TeamMembers`. */
const wordsOf = (name: string) => name.replace(/(?<=[a-z])(?=[A-Z])/g, " ").toLowerCase();

/** Answers 201 with a new resource, its ETag, and its URL below that of the request. */
export function created<R extends { id: string; updatedAt: Date }, View>(
  { request, set }: Pick<RequestParts, "request" | "set">,
  resource: R,
  view: (resource: R) => View,
) {
  const path = pathOf(request).replace(/\/$/, "");
  set.headers["location"] = `${path}/${resource.id}`;
  return status(201, view(tagged(set, resource)));
}
