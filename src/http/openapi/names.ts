interface Titled {
  title?: unknown;
  type?: string;
  description?: string;
  headers?: object;
  content?: Record<string, { schema: object }>;
}

/**
 * Writes each titled schema once, in `components`, and refers to it by name. For the schema of a
 * response, @elysiajs/swagger puts title and description beside the content.
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
