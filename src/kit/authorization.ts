/**
 * The credentials of an Authorization header, if its scheme is `scheme`, in any case. Any white
 * space may follow the scheme (RFC 9110, sections 5.6.3 and 11.4).
 */
export function credentialsOf(
  header: string | undefined,
  scheme: "bearer" | "basic",
): string | undefined {
  const [, name = "", credentials] = /^(\w+)[ \t]+(\S+)$/.exec(header ?? "") ?? [];
  return name.toLowerCase() === scheme ? credentials : undefined;
}
