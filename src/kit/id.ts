const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** True for the text form of a UUID (RFC 9562, section 4). */
export const isId = (text: string): boolean => ID.test(text);

/** The least UUIDv7 of a time. Ids made before it are less (RFC 9562, section 5.7). */
export function leastIdOf(time: Date): string {
  const hex = Math.max(0, time.getTime()).toString(16).padStart(12, "0");
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-000000000000`;
}
