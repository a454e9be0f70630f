/**
 * The credentials of an Authorization header, if its scheme is `scheme`. The scheme has no case, and any white space follows it
 * (RFC 9110, sections 5.6.3 and 11.4).
 */
export function credentialsOf(
  header: string | undefined,
  scheme: "bearer" | "basic",
): string | undefined {
  const [, name = "", credentials] = /^(\w+)[ \t]+(\S+)$/.exec(header ?? "") ?? [];
  return name.toLowerCase() === scheme ? credentials : undefined;
}
