interface Titled {
  title?: unknown;
  type?: string;
  description?: string;
  headers?: object;
  content?: Record<string, { schema: object }>;
}

/**
 * Writes each schema that has a title once, among the components, and refers to it by that name. Of a response's own schema
 * @elysiajs/swagger has left the words outside, beside the content.
 */
export function namedByTitle<T extends { components: { schemas: Record<string, object> } }>(
  document: T,
): T {
  const named: Record<string, object> = {};
  const refer = (title: string, schema: object) => {
    named[title] = schema;
    return { $ref: `#/components/schemas/${title}` };
  };
  const written: T = JSON.parse(JSON.stringify(document), (_key, value: Titled | null) => {
    if (typeof value?.title !== "string") return value;
    const { title, content, headers, ...rest } = value;
    if (!content) return rest.type === "object" ? refer(title, rest) : value;
    const [[type, { schema }] = ["", { schema: {} }]] = Object.entries(content);
    const reference = refer(title, { ...rest, ...schema });
    return {
      description: rest.description,
      ...(headers ? { headers } : {}),
      content: { [type]: { schema: reference } },
    };
  });
  Object.assign(written.components.schemas, named);
  return written;
}
