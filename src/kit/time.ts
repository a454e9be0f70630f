/** RFC 3339, section 5.6: the local date and time, and the rest. `Date` also reads other forms. */
const TIME = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/i;

/** PostgreSQL reads years from 1 on, and no sign before a year. */
export function parseTime(text: string): Date | undefined {
  const [, local = ""] = TIME.exec(text) ?? [];
  if (!exists(local.toUpperCase())) return undefined;
  const time = new Date(text);
  const year = time.getUTCFullYear();
  return year >= 1 && year <= 9999 ? time : undefined;
}

/** `Date` reads 31 February as 3 March, and 24:00 as the next day. */
function exists(local: string): boolean {
  const time = new Date(`${local}Z`);
  return !Number.isNaN(time.getTime()) && time.toISOString().startsWith(local);
}
